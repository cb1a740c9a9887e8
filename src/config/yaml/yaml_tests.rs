use super::*;

#[test]
fn a_document_is_read() {
    let node = parse(b"a: yes\nb: [1, 010, 1e3, 1.0e+3]\n").unwrap();
    assert_eq!(node.value.to_json(), serde_json::json!({"a": true, "b": [1, 8, "1e3", 1000.0]}));
}
