//! What no recording can show: every reason to decline, and callers that leave.
use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    messages_tests::{KEY, admitted, body_of, call, head, read_request, snapshot},
    *,
};
use crate::{
    config::ConfigDecline,
    routes::{ReplyBody, litellm_headers::KeyHeaders},
};

#[test]
fn heads_that_are_pythons_to_judge() {
    let snapshot = snapshot("http://127.0.0.1:9", "http://127.0.0.1:9");
    let judge = |query: Option<&str>, headers: &[(&str, &str)]| admit_head(&head(query, headers), &snapshot);
    assert_eq!(judge(None, &[]), Ok(()));
    assert_eq!(judge(Some("beta=true"), &[("anthropic-beta", "a"), ("x-litellm-tags", "a")]), Ok(()));
    assert_eq!(judge(None, &[("x-litellm-call-id", "c")]), Ok(()));
    assert_eq!(judge(Some("api-version=1"), &[]), Err(Decline::Query));
    for (name, value) in [
        ("x-litellm-timeout", "5"),
        ("x-litellm-tags", "\u{e9}"),
        ("x-litellm-trace-id", "a"),
        ("anthropic-beta", "b\u{e9}"),
        ("x-mcp-auth", "x"),
        ("x-litellm-api-key", KEY),
    ] {
        assert_eq!(judge(None, &[(name, value)]), Err(Decline::ControlHeader), "{name}");
    }
    for name in ["anthropic-beta", "x-litellm-tags"] {
        assert_eq!(judge(None, &[(name, "a"), (name, "b")]), Err(Decline::ControlHeader), "{name}");
    }
    assert_eq!(judge(None, &[("content-encoding", "gzip")]), Err(Decline::ContentEncoding));
    let mut other = head(None, &[]);
    other.headers.insert("content-type", HeaderValue::from_static("text/plain"));
    assert_eq!(admit_head(&other, &snapshot), Err(Decline::ContentType));
    other = head(None, &[]);
    other.headers.insert("authorization", HeaderValue::from_static("Bearer sk-other"));
    // whose it is, is asked once the body is there
    assert_eq!(admit_head(&other, &snapshot), Ok(()));
}

#[test]
fn bodies_that_are_pythons_to_judge() {
    let why = |body: &str| {
        let call = call(head(None, &[]), body.to_owned(), snapshot("http://127.0.0.1:9", "http://127.0.0.1:9"));
        admitted(call).err()
    };
    let with = |more: &str| format!(r#"{{"model":"claude","max_tokens":1,"messages":[]{more}}}"#);
    assert_eq!(why(&with("")), None);
    for (body, reason) in [
        ("{", Decline::BodyNotJson),
        ("[]", Decline::BodyNotJson),
        (r#"{"model":"claude","max_tokens":1}"#, Decline::MissingField),
        (r#"{"model":"claude","messages":[]}"#, Decline::MissingField),
        (r#"{"max_tokens":1,"messages":[]}"#, Decline::MissingField),
        (r#"{"model":5,"max_tokens":1,"messages":[]}"#, Decline::FieldType),
        (r#"{"model":"nope","max_tokens":1,"messages":[]}"#, Decline::Model),
        (r#"{"model":"claude[1m]","max_tokens":1,"messages":[]}"#, Decline::Model),
        (r#"{"model":"claude-router-636c61756465","max_tokens":1,"messages":[]}"#, Decline::Model),
        (r#"{"model":"claude,claude","max_tokens":1,"messages":[]}"#, Decline::Model),
        (r#"{"model":"claude","max_tokens":1,"messages":5}"#, Decline::FieldType),
    ] {
        assert_eq!(why(body), Some(reason), "{body}");
    }
    for (more, reason) in [
        (r#","fallbacks":[]"#, Decline::Field),
        (r#","num_retries":1"#, Decline::Field),
        (r#","mock_response":"x""#, Decline::Field),
        (r#","litellm_metadata":{}"#, Decline::Field),
        (r#","api_key":"x""#, Decline::Field),
        (r#","speed":"fast""#, Decline::Field),
        (r#","max_tokens":2"#, Decline::DuplicateKey),
        (r#","tools":[{"type":"web_search_20250305","name":"web_search"}]"#, Decline::Tools),
        (r#","tools":[{"type":"mcp","server_url":"litellm_proxy"}]"#, Decline::Tools),
        (r#","tools":{}"#, Decline::FieldType),
        (r#","metadata":"x""#, Decline::FieldType),
        (r#","metadata":{"tags":"a"}"#, Decline::FieldType),
        (r#","metadata":{"tags":[1]}"#, Decline::FieldType),
        (r#","tags":["a\u0000"]"#, Decline::Field),
        (r#","context_management":[]"#, Decline::UnsupportedParam),
        (r#","mcp_servers":[{}]"#, Decline::Field),
    ] {
        assert_eq!(why(&with(more)), Some(reason), "{more}");
    }
}

#[test]
fn configuration_that_is_pythons() {
    let base = "http://127.0.0.1:9";
    let body = r#"{"model":"claude","max_tokens":1,"messages":[]}"#;
    let why = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = snapshot(base, base);
        change(&mut snapshot);
        admitted(call(head(None, &[]), body, snapshot)).err()
    };
    let deployment = |change: fn(&mut Deployment)| {
        move |snapshot: &mut Snapshot| {
            let group = snapshot.groups.get_mut("claude").unwrap();
            change(Arc::make_mut(&mut Arc::make_mut(group).deployments[0]));
        }
    };
    assert_eq!(why(&|_| {}), None);
    let reason = || ConfigDecline { decline: Decline::Callbacks, key: "litellm_settings.callbacks".into() };
    assert_eq!(why(&|snapshot| snapshot.declines.push(reason())), Some(Decline::Callbacks));
    assert_eq!(why(&deployment(|d| d.provider = Provider::OpenAi)), Some(Decline::Provider));
    assert_eq!(why(&deployment(|d| d.api_key = None)), Some(Decline::DeploymentParam));
    assert_eq!(
        why(&deployment(|d| d.api_key = Some(crate::secret::Secret::new("sk-ant-oat01-x")))),
        Some(Decline::DeploymentParam)
    );
    assert_eq!(
        why(&deployment(|d| d.extra_headers.push(("authorization".into(), "x".into())))),
        Some(Decline::DeploymentParam)
    );
    assert_eq!(
        why(&deployment(|d| {
            d.default_params.insert("cache".into(), json!({}));
        })),
        Some(Decline::DeploymentParam)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_request(&mut connection).await;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(
            &mut packed,
            br#"{"id":"m","model":"x","usage":{"input_tokens":1,"output_tokens":1}}"#,
        )
        .unwrap();
        let packed = packed.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&packed).await.unwrap();
    });
    let body = r#"{"model":"claude","max_tokens":1,"messages":[]}"#;
    let execution = admitted(call(head(None, &[]), body, snapshot(&base, &base))).unwrap();
    let (reply, body) = body_of(execution.await).await;
    assert_eq!(reply.status, 200);
    assert_eq!(body, br#"{"id":"m","model":"claude","usage":{"input_tokens":1,"output_tokens":1}}"#);
    assert_eq!((reply.log.prompt_tokens, reply.log.completion_tokens), (Some(1), Some(1)));
}

/// The caller leaves: the provider must see its connection end, at once and not at the end of its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_stream_aborts_the_provider() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let closed = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_request(&mut connection).await;
        let start = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n";
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(format!("{:x}\r\n", start.len()).as_bytes()).await.unwrap();
        connection.write_all(start).await.unwrap();
        connection.write_all(b"\r\n").await.unwrap();
        let mut rest = [0; 16];
        tokio::time::timeout(Duration::from_secs(5), connection.read(&mut rest)).await
    });
    let body = r#"{"model":"claude","max_tokens":1,"messages":[],"stream":true}"#;
    let execution = admitted(call(head(None, &[]), body, snapshot(&base, &base))).unwrap();
    let ReplyBody::Stream(mut stream) = execution.await.body else { panic!("no stream") };
    assert!(stream.next().await.unwrap().starts_with(b"event: message_start"));
    let log = stream.log();
    assert_eq!((log.prompt_tokens, log.completion_tokens, log.provider), (Some(7), Some(1), Some("anthropic")));
    drop(stream);
    assert!(matches!(closed.await.unwrap(), Ok(Ok(0) | Err(_))), "the provider still writes for nobody");
}

/// LiteLLM refuses calls beyond a deployment's `rpm`: they are Python's to judge, and a stream counts until its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_slots_decline_until_the_stream_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_request(&mut connection).await;
        let event = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
        let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n", event.len());
        connection.write_all(text.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
    });
    let mut limited = snapshot(&base, &base);
    let group = Arc::make_mut(limited.groups.get_mut("claude").unwrap());
    Arc::make_mut(&mut group.deployments[0]).slots.limit = Some(1);
    let body = r#"{"model":"claude","max_tokens":1,"messages":[],"stream":true}"#;
    let admit = || admitted(call(head(None, &[]), body, limited.clone()));
    let first = admit().unwrap();
    assert_eq!(admit().err(), Some(Decline::NoDeployment));
    let ReplyBody::Stream(mut stream) = first.await.body else { panic!("no stream") };
    assert!(stream.next().await.is_some());
    assert_eq!(admit().err(), Some(Decline::NoDeployment), "the stream is still running");
    drop(stream);
    assert!(admit().is_ok(), "a dropped stream frees its slot");
}

#[test]
fn an_alias_of_a_groups_own_name_is_pythons() {
    let mut snapshot = snapshot("http://127.0.0.1:9", "http://127.0.0.1:9");
    snapshot.aliases.insert("claude".into());
    let body = r#"{"model":"claude","max_tokens":1,"messages":[]}"#;
    assert_eq!(admitted(call(head(None, &[]), body, snapshot)).err(), Some(Decline::Model));
}

#[test]
fn a_streams_headers_have_one_request_id_and_nothing_empty() {
    let base = "http://127.0.0.1:9";
    let body = r#"{"model":"claude","max_tokens":1,"messages":[]}"#;
    let call = call(head(None, &[]), body, snapshot(base, base));
    let deployment = Arc::clone(&call.snapshot.groups["claude"].deployments[0]);
    let seen = |pairs: &[(&'static str, &'static str)]| {
        let mut provider = http::HeaderMap::new();
        for (name, value) in pairs {
            provider.append(*name, HeaderValue::from_static(value));
        }
        let clock = headers::Clock { started: call.started, provider_ms: 0.0 };
        let list = headers::stream("id", &deployment, "claude", &provider, &clock, &KeyHeaders::default());
        let about = |name: &str| name.contains("request-id") || name.contains("x-");
        let known = |name: &str| name.starts_with("x-litellm-");
        list.iter().filter(|(name, _)| about(name) && !known(name)).map(|(n, v)| format!("{n}: {v}")).collect()
    };
    let both: Vec<String> = seen(&[("x-request-id", "b"), ("request-id", "a"), ("x-empty", ""), ("x-none", "None")]);
    assert_eq!(both, ["llm_provider-x-request-id: b", "llm_provider-request-id: a", "request-id: a"]);
    let one: Vec<String> = seen(&[("x-request-id", "b"), ("llm_provider-x-y", "c")]);
    assert_eq!(
        one,
        ["llm_provider-x-request-id: b", "llm_provider-x-y: c", "llm_provider-request-id: b", "request-id: b"]
    );
}
