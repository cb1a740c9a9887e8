//! A provider behind `https://`: called over TLS where the system's certificates vouch for it, not called where none does.
//! The certificate and key are material for tests only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls-test-material/test-only-cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls-test-material/test-only-key.pem");
const ANSWER: &str = r#"{"id":"chatcmpl-tls","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"over tls"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// Answers every request on every connection that gets through the handshake.
fn provider() -> u16 {
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_file(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
                let mut seen = vec![0; 16 << 10];
                while let Ok(1..) = stream.read(&mut seen) {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        ANSWER.len()
                    );
                    if stream.write_all((head + ANSWER).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

struct Edge(Child);
impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(provider: u16, trusts: &str) -> String {
    let folder = std::env::temp_dir().join(format!("litellm-rust-provider-tls-{}-{provider}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (config, routes) = (folder.join("config.yaml"), folder.join("routes.toml"));
    fs::write(
        &config,
        format!(
            "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/gpt-4o, api_base: 'https://localhost:{provider}/v1', api_key: k, timeout: 5}}\n\
             litellm_settings: {{num_retries: 0}}\nrouter_settings: {{num_retries: 0, disable_cooldowns: true}}\ngeneral_settings: {{master_key: sk-tls-test-key}}\n"
        ),
    )
    .unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml"), &routes).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
        .args(["--config", config.to_str().unwrap(), "--routes", routes.to_str().unwrap()])
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .env_clear()
        .env("LITELLM_EDGE_UNGATED", "1")
        .env("SSL_CERT_FILE", trusts)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _edge = Edge(child);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut socket = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(socket) => break socket,
            Err(_) => assert!(Instant::now() < deadline, "the edge did not start"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-tls-test-key\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    answer
}

#[test]
fn https_providers_are_called_and_their_certificates_checked() {
    let port = provider();
    let answer = ask(port, CERTIFICATE);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-litellm-edge: native"), "{answer}");
    assert!(answer.contains("over tls"), "{answer}");

    // the same provider, vouched for by nobody: no answer of it reaches the caller
    let answer = ask(port, "/dev/null");
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("x-litellm-edge: native"), "{answer}");
    assert!(!answer.contains("over tls"), "{answer}");
}
