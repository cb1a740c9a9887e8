//! TLS at the edge. The certificate and key are material for these tests only; they are no secret and trusted by nobody.
use std::{io::Write, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::{
    gateway::{Folder, Process},
    support::{FakePython, ok},
};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls-test-material/test-only-cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls-test-material/test-only-key.pem");

async fn connect(port: u16, protocols: &[&str]) -> TlsStream<tokio::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERTIFICATE).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[test]
fn https_by_http1_and_http2_reaches_python() {
    let python = FakePython::start(|request, stream| stream.write_all(ok(request.line()).as_bytes()).is_ok());
    let process =
        Process::before(python.port, &["--tls-cert", CERTIFICATE, "--tls-key", KEY, "--forwarded-headers", "append"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talk = async {
        for protocols in [&["http/1.1"][..], &[]] {
            let mut stream = connect(process.port, protocols).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), protocols.first().map(|name| name.as_bytes()));
            let request = "POST /x?q=1 HTTP/1.1\r\nHost: localhost\r\nX-Mixed: A\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("POST /x?q=1 HTTP/1.1"), "{answer}");
            let seen = python.last();
            assert_eq!((seen.body.as_slice(), seen.header("x-mixed")), (&b"body"[..], Some("A")));
            assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        }

        let stream = connect(process.port, &["h2", "http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("https://localhost/y").body(()).unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"over h2"), true).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        assert_eq!((head.status.as_u16(), head.headers["x-litellm-edge"].as_bytes()), (200, &b"python"[..]));
        assert_eq!(body.data().await.unwrap().unwrap(), "POST /y HTTP/1.1");
        let seen = python.last();
        assert_eq!((seen.body.as_slice(), seen.header("host")), (&b"over h2"[..], Some("localhost")));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), talk).await.unwrap() });
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let folder = Folder::new();
    let empty = folder.write("empty.pem", "");
    for (certificate, key) in [(CERTIFICATE, "/nowhere"), ("/nowhere", KEY), (CERTIFICATE, CERTIFICATE)]
        .into_iter()
        .chain([(empty.to_str().unwrap(), KEY), (CERTIFICATE, empty.to_str().unwrap())])
    {
        let port = crate::support::free_port().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
            .args(["--host", "127.0.0.1", "--port", &port, "--tls-cert", certificate, "--tls-key", key])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{certificate} {key}: {said}");
        assert!(said.contains("cannot use the certificate or key"), "{said}");
        assert!(!said.contains("panic"), "{said}");
    }
}
