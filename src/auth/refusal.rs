//! What a caller is told who is not let in: status, type, param and message as LiteLLM writes them
//! (proxy/auth/auth_exception_handler.py). Pure. It must never hold more of a key than LiteLLM shows of it.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::error::{Dialect, Failure};

/// One refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub failure: Failure,
    /// FastAPI's `{"detail": message}` in place of the error object
    pub detail: bool,
    /// LiteLLM writes a row of the failed call
    pub recorded: bool,
    /// by the checks that LiteLLM makes last, whatever its type says
    pub late: bool,
}

impl Refusal {
    fn new(status: StatusCode, kind: &str, param: Option<&str>, message: String) -> Self {
        let failure =
            Failure { kind: Some(kind.to_owned()), param: param.map(str::to_owned), ..Failure::new(status, message) };
        Self { failure, detail: false, recorded: true, late: false }
    }

    /// Any plain exception in LiteLLM's authentication.
    pub fn authentication(message: &str) -> Self {
        Self::generic(StatusCode::UNAUTHORIZED, format!("Authentication Error, {message}"))
    }

    /// An `HTTPException`: its detail is the message as it is.
    pub fn generic(status: StatusCode, message: String) -> Self {
        // the word, not null: `getattr(e, "param", "None")`
        Self::new(status, "auth_error", Some("None"), message)
    }

    pub fn missing_key() -> Self {
        Self::authentication("No api key passed in.")
    }

    pub fn malformed_key() -> Self {
        Self::authentication("Malformed API Key passed in. Ensure Key has `Bearer ` prefix.")
    }

    pub fn no_database() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "no_db_connection", None, "No connected db.".to_owned())
    }

    /// `shown`: the key, masked.
    pub fn not_a_key(shown: &str, jwt: bool) -> Self {
        const HINT: &str = " This key has the structure of a JWT, but JWT auth is not enabled on this proxy, so it was \
                            treated as a virtual key. Set `enable_jwt_auth: true` under `general_settings` in your \
                            proxy config to authenticate with JWTs.";
        let hint = if jwt { HINT } else { "" };
        let message = format!("LiteLLM Virtual Key expected. Received={shown}, expected to start with 'sk-'.{hint}");
        Self::generic(StatusCode::UNAUTHORIZED, message)
    }

    pub fn unknown_key(shown: &str, hash: &str) -> Self {
        let message = format!(
            "Authentication Error, Invalid proxy server token passed. Received API Key = {shown}, Key Hash (Token) \
             ={hash}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`"
        );
        Self::new(StatusCode::UNAUTHORIZED, "token_not_found_in_db", Some("key"), message)
    }

    /// `expiry` as Postgres has it, `shown`: the key, abbreviated. `None`: no time that Python would print so.
    pub fn expired_key(expiry: &str, now: SystemTime, shown: &str) -> Option<Self> {
        let message = format!(
            "Authentication Error - Expired Key. Key Expiry time {} and current time {}",
            python_str(read_timestamp(expiry)?)?,
            python_str(now)?
        );
        Some(Self::new(StatusCode::UNAUTHORIZED, "expired_key", Some(shown), message))
    }

    /// `who`: `key`, `team`, `user`, `project`.
    pub fn model_denied(who: &str, model: &str) -> Self {
        let message = format!(
            "The requested model '{model}' is not available for this API key, or the model name is invalid. Check the \
             models available to you and try again."
        );
        Self::new(StatusCode::FORBIDDEN, &format!("{who}_model_access_denied"), Some("model"), message)
    }

    /// Raised outside of LiteLLM's own handler: FastAPI's body, and no row.
    pub fn route_denied(allowed: &str, route: &str) -> Self {
        let message = format!(
            "Virtual key is not allowed to call this route. Only allowed to call routes: {allowed}. Tried to call \
             route: {route}"
        );
        Self { failure: Failure::new(StatusCode::FORBIDDEN, message), detail: true, recorded: false, late: false }
    }

    /// Python's text of the exception's dict is the message.
    pub fn team_missing(team: &str) -> Self {
        let message =
            format!("{{'error': \"Team doesn't exist in db. Team={team}. Create team via `/team/new` call.\"}}");
        Self::generic(StatusCode::NOT_FOUND, message)
    }

    /// The JSON body. Refusals of LiteLLM's authentication have OpenAI's shape on every route.
    pub fn body(&self) -> Bytes {
        if self.detail {
            return Bytes::from(serde_json::json!({ "detail": self.failure.message }).to_string());
        }
        self.failure.body(Dialect::OpenAi)
    }
}

const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
const SHOWN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// A `timestamp` column in JSON: UTC without a zone, up to microseconds.
pub fn read_timestamp(text: &str) -> Option<SystemTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let at = PrimitiveDateTime::parse(seconds, SECONDS).ok()?.assume_utc();
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(at.unix_timestamp().try_into().ok()?) + Duration::from_micros(micros))
}

/// `str(datetime)` in UTC: microseconds, where there are any.
fn python_str(at: SystemTime) -> Option<String> {
    let micros = at.duration_since(UNIX_EPOCH).ok()?.as_micros();
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(micros / 1_000_000).ok()?).ok()?;
    let seconds = at.format(SHOWN).ok()?;
    Some(match micros % 1_000_000 {
        0 => format!("{seconds}+00:00"),
        rest => format!("{seconds}.{rest:06}+00:00"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_litellms() {
        let text = |refusal: Refusal| String::from_utf8(refusal.body().to_vec()).unwrap();
        assert_eq!(
            text(Refusal::missing_key()),
            r#"{"error":{"message":"Authentication Error, No api key passed in.","type":"auth_error","param":"None","code":"401"}}"#
        );
        assert_eq!(
            text(Refusal::no_database()),
            r#"{"error":{"message":"No connected db.","type":"no_db_connection","param":null,"code":"400"}}"#
        );
        assert_eq!(
            text(Refusal::route_denied("['/v1/models']", "/v1/chat/completions")),
            r#"{"detail":"Virtual key is not allowed to call this route. Only allowed to call routes: ['/v1/models']. Tried to call route: /v1/chat/completions"}"#
        );
        assert_eq!(
            text(Refusal::team_missing("t-1")),
            r#"{"error":{"message":"{'error': \"Team doesn't exist in db. Team=t-1. Create team via `/team/new` call.\"}","type":"auth_error","param":"None","code":"404"}}"#
        );
    }

    #[test]
    fn times_are_pythons() {
        let now = UNIX_EPOCH + Duration::from_micros(1_795_324_336_000_007);
        let refusal = Refusal::expired_key("2026-11-20T23:09:18.93", now, "sk-...abcd").unwrap();
        assert_eq!(
            refusal.failure.message,
            "Authentication Error - Expired Key. Key Expiry time 2026-11-20 23:09:18.930000+00:00 and current time \
             2026-11-22 05:12:16.000007+00:00"
        );
        assert_eq!(python_str(read_timestamp("2026-11-20T23:09:18").unwrap()).unwrap(), "2026-11-20 23:09:18+00:00");
        for odd in ["infinity", "2026-11-20", "2026-11-20T23:09:18+01:00", "2026-11-20T23:09:18.1234567", ""] {
            assert_eq!(read_timestamp(odd), None, "{odd}");
        }
    }
}
