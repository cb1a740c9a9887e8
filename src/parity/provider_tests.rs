use super::*;
use crate::{
    parity::{
        case::{Request, parse},
        client::{Response, send, send_until},
    },
    secret::Secret,
};

fn case(answer: &str) -> (Request, Vec<Answer>) {
    let text = format!(
        "{{route: r, why: w, expect: native, request: {{method: POST, path: '/v1/x?q=1', key: master, json: {{b: 1, a: 2}}}}, \
         provider: {{answers: [{answer}]}}}}"
    );
    let case = parse(std::path::Path::new("r/x.yaml"), &text).unwrap();
    (case.requests[0].clone(), case.answers)
}

async fn ask(answer: &str) -> (Response, Vec<ProviderCall>) {
    let provider = Provider::start(0).await.unwrap();
    let (request, answers) = case(answer);
    provider.script(&answers);
    let response = send(provider.address, &request, &Secret::new("sk-m")).await.unwrap();
    (response, provider.calls())
}

#[tokio::test]
async fn answers_as_scripted_and_keeps_the_call() {
    let (response, calls) = ask("{status: 201, headers: {X-One: [a, b]}, json: {z: 1, a: 2}}").await;
    assert_eq!((response.status, response.body.end), (201, End::Complete));
    assert_eq!(response.body.bytes, br#"{"z":1,"a":2}"#);
    assert_eq!(response.head.headers[0], ("X-One".into(), "a".into()));
    assert_eq!(response.head.all("x-one").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].head.line, "POST /v1/x?q=1 HTTP/1.1");
    assert_eq!(calls[0].head.get("Authorization"), Some("Bearer sk-m"));
    assert_eq!(calls[0].body, br#"{"b":1,"a":2}"#);
}

#[tokio::test]
async fn frames_are_chunks() {
    let (response, _) = ask("{sse: ['data: 1', 'data: 2'], frame_delay_ms: 20}").await;
    assert_eq!(response.body.bytes, b"data: 1\n\ndata: 2\n\n");
    assert_eq!(response.body.chunks.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [9, 9]);
    assert!(response.body.chunks[1].0 >= response.body.chunks[0].0 + 15, "{:?}", response.body.chunks);
    assert_eq!(response.body.end, End::Complete);
}

#[tokio::test]
async fn every_kind_of_end_is_what_it_says() {
    let (response, _) = ask("{sse: ['data: 1'], then: cut}").await;
    assert_eq!((response.body.end, response.body.bytes.as_slice()), (End::Cut, b"data: 1\n\n".as_slice()));
    let (response, _) = ask("{json: {a: 12345}, then: cut}").await;
    assert_eq!((response.body.end, response.body.bytes.len()), (End::Cut, 5));
    let (response, _) = ask("{then: reset}").await;
    assert_eq!((response.status, response.body.end), (0, End::Reset));
    let (response, _) = ask("{then: refuse}").await;
    assert_eq!((response.status, response.body.end), (0, End::Cut));
}

#[tokio::test]
async fn a_hang_ends_with_the_next_case() {
    let provider = Provider::start(0).await.unwrap();
    let (request, answers) = case("{then: hang}");
    provider.script(&answers);
    let (address, key) = (provider.address, Secret::new("k"));
    let waiting = tokio::spawn(async move { send(address, &request, &key).await });
    sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    provider.script(&[]);
    assert_eq!(waiting.await.unwrap().unwrap().body.end, End::Cut);
}

#[tokio::test]
async fn a_call_too_many_is_seen() {
    let (response, calls) = ask("").await;
    assert_eq!(response.status, 500);
    assert!(!calls[0].expected);
}

#[tokio::test]
async fn a_dead_port_refuses() {
    let dead = DeadPort::bind(0).unwrap();
    assert!(!listens(dead.address).await);
}

#[tokio::test]
async fn the_gateways_own_polls_take_no_answer() {
    let provider = Provider::start(0).await.unwrap();
    provider.script(&case("{status: 201, json: {}}").1);
    for (request, status) in [
        ("GET /v1/models HTTP/1.1\r\nhost: x\r\nuser-agent: litellm/1.106.2\r\n\r\n", "500"),
        ("GET /v1/models HTTP/1.1\r\nhost: x\r\nuser-agent: curl\r\n\r\n", "201"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(provider.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).ends_with(status), "{request}");
    }
    assert_eq!(provider.calls().len(), 1);
}

/// With `connection` as the request's own key.
async fn ask_as(conduct: &str, answer: &str) -> (Response, Vec<ProviderCall>) {
    let provider = Provider::start(0).await.unwrap();
    let (mut request, answers) = case(answer);
    request.connection = Some(serde_yaml::from_str(conduct).unwrap());
    provider.script(&answers);
    let called = provider.called(request.calls_before_leaving());
    let response = send_until(provider.address, &request, &Secret::new("sk-m"), called).await.unwrap();
    for _ in 0..200 {
        if provider.calls().iter().all(|call| call.left.is_some()) {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    (response, provider.calls())
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_by_the_provider() {
    let stream = "{sse: ['data: 1', 'data: 2', 'data: 3'], then: stall}";
    let (response, calls) = ask_as("{leave_after_events: 2}", stream).await;
    assert_eq!((response.body.end, response.body.bytes), (End::Left, b"data: 1\n\ndata: 2\n\n".to_vec()));
    assert_eq!(calls[0].left, Some(true));
    let (response, calls) = ask_as("{leave_after_head: true}", stream).await;
    assert_eq!((response.status, response.body.end, calls[0].left), (200, End::Left, Some(true)));
    let (response, calls) = ask_as("{leave_after_calls: 1}", "{delay_ms: 5000, json: {}}").await;
    assert_eq!((response.status, response.body.end, calls[0].left), (0, End::Left, Some(true)));
    // what was there before it left is a whole answer
    let (_, calls) = ask_as("{leave_after_head: true}", "{json: {}}").await;
    assert_eq!(calls[0].left, Some(false));
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let (response, calls) = ask_as("{read_delay_ms: 1}", &format!("{{json: {:?}}}", "x".repeat(40_000))).await;
    assert_eq!((response.body.end, response.body.bytes.len(), calls[0].left), (End::Complete, 40_002, Some(false)));
    assert!(response.body.chunks.len() > 5, "in small pieces");
}

/// A request that asks for a WebSocket, and what came of it.
async fn converse(says: &str, answer: &str) -> (Response, Vec<ProviderCall>) {
    let text = format!(
        "{{route: r, why: w, expect: passed, request: {{method: GET, path: /socket, websocket: {says}}}, provider: {{answers: [{answer}]}}}}"
    );
    let case = parse(std::path::Path::new("r/x.yaml"), &text).unwrap();
    let provider = Provider::start(0).await.unwrap();
    provider.script(&case.answers);
    let response = send(provider.address, &case.requests[0], &Secret::new("sk-m")).await.unwrap();
    (response, provider.calls())
}

#[tokio::test]
async fn a_websocket_is_a_conversation_in_turns() {
    let long = "x".repeat(70_000);
    let (response, calls) =
        converse("['{\"one\": 1}', two]", &format!("{{websocket: [hello, '{{\"a\": 1}}', {long}]}}")).await;
    assert_eq!((response.status, response.body.end), (101, End::Complete));
    assert_eq!(response.head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the RFC's example");
    let heard: serde_json::Value = serde_json::from_slice(&response.body.bytes).unwrap();
    assert_eq!(heard, serde_json::json!(["hello", {"a": 1}, long, {"close": 1000, "reason": ""}]));
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].body, br#"[{"one":1},"two"]"#);
}

#[tokio::test]
async fn a_websocket_ends_as_scripted_and_only_where_it_was_asked_for() {
    let (response, _) = converse("[one]", "{websocket: [hello], then: cut}").await;
    assert_eq!((response.body.end, response.body.bytes.as_slice()), (End::Cut, br#"["hello"]"#.as_slice()));
    let (response, calls) = converse("[one]", "{status: 403, json: {no: 1}}").await;
    assert_eq!((response.status, response.body.bytes.as_slice()), (403, br#"{"no":1}"#.as_slice()));
    assert!(calls[0].body.is_empty());
    let (response, _) = ask("{websocket: [hello]}").await;
    assert_eq!((response.status, response.body.bytes.len()), (200, 0), "nobody asked for one");
    for request in ["method: POST, path: /, websocket: []", "method: GET, path: /, websocket: [], body: x"] {
        let text = format!("{{route: r, why: w, expect: passed, request: {{{request}}}}}");
        assert!(parse(std::path::Path::new("r/x.yaml"), &text).is_err(), "{request}");
    }
}
