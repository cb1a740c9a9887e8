//! Values that LiteLLM keeps encrypted in its tables (proxy/common_utils/encrypt_decrypt_utils.py), both of its formats.
//! Pure. What is opened is a secret: it must never be logged, nor what could not be opened.
use crypto_secretbox::{AeadInPlace, Key, KeyInit, Nonce, Tag, XSalsa20Poly1305};
use ring::aead;
use sha2::{Digest, Sha256};

use crate::base64;

/// In front of what `general_settings.encryption_algorithm: aes-256-gcm` writes.
const GCM: &str = "v2:gcm:";

/// LiteLLM's key: the sha256 of `LITELLM_SALT_KEY`, else of the master key.
pub(super) struct Seal([u8; 32]);

impl Seal {
    pub(super) fn of(salt: &str) -> Self {
        Self(Sha256::digest(salt).into())
    }

    /// The plain text. `None`: it is no value that was encrypted with this key; LiteLLM uses such a one as it stands.
    pub(super) fn open(&self, value: &str) -> Option<String> {
        let bytes = match value.strip_prefix(GCM) {
            Some(sealed) => self.gcm(url_safe(sealed)?)?,
            None if value.is_empty() => Vec::new(),
            None => self.secretbox(&url_safe(value)?)?,
        };
        String::from_utf8(bytes).ok()
    }

    /// nonce (12 bytes), text, tag (16 bytes)
    fn gcm(&self, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &self.0).ok()?);
        let (nonce, text) = sealed.split_at_mut_checked(aead::NONCE_LEN)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        key.open_in_place(nonce, aead::Aad::empty(), text).ok().map(|text| text.to_vec())
    }

    /// NaCl's: nonce (24 bytes), tag (16 bytes), text
    fn secretbox(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(XSalsa20Poly1305::NONCE_SIZE)?;
        let (tag, text) = rest.split_at_checked(XSalsa20Poly1305::TAG_SIZE)?;
        let mut text = text.to_vec();
        let cipher = XSalsa20Poly1305::new(Key::from_slice(&self.0));
        cipher.decrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut text, Tag::from_slice(tag)).ok()?;
        Some(text)
    }
}

/// base64 with either alphabet, which LiteLLM reads alike.
fn url_safe(text: &str) -> Option<Vec<u8>> {
    base64::decode(&text.replace('-', "+").replace('_', "/"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As LiteLLM seals it, but for the nonce.
    pub(in super::super) fn sealed(salt: &str, text: &str) -> String {
        let nonce = [7; XSalsa20Poly1305::NONCE_SIZE];
        let mut text = text.as_bytes().to_vec();
        let cipher = XSalsa20Poly1305::new(Key::from_slice(&Seal::of(salt).0));
        let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), b"", &mut text).unwrap();
        base64::encode(&[&nonce[..], &tag, &text].concat()).replace('+', "-").replace('/', "_")
    }

    /// Made by LiteLLM's own `encrypt_value_helper`, see `tests/golden/sealed.py`.
    #[test]
    fn what_litellm_has_sealed_is_opened() {
        let golden = include_str!("../../../tests/golden/sealed.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let rows = golden.as_array().unwrap();
        for row in rows {
            let text = |key: &str| row[key].as_str().unwrap();
            let opened = Seal::of(text("salt")).open(text("sealed"));
            assert_eq!(opened.as_deref(), row["plain"].as_str(), "{row}");
        }
        assert!(rows.iter().filter(|row| row["plain"].is_null()).count() > 4, "some are no such value");
        assert!(rows.len() > 20);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_breaks_it(value: String, bytes: Vec<u8>) {
            let seal = Seal::of("sk-1234");
            seal.open(&value);
            proptest::prop_assert_eq!(seal.open(&format!("{GCM}{}", base64::encode(&bytes))), None);
        }
    }
}
