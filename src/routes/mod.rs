//! The native routes: one file a route, and `table`, the one table of them. A route is a pure admission
//! ([`NativeRoute::admit`]) and an execution that can no longer decline: so nothing is ever replayed to Python after
//! a provider was called. It must never see a Pingora type.
pub mod chat_completions;
pub mod control;
pub mod decline;
pub mod doc;
pub mod header_list;
pub mod health;
pub mod key_info;
mod limited;
pub mod litellm_headers;
pub mod messages;
pub mod metrics;
pub mod model_info;
pub mod models;
pub mod named_rows;
pub mod native;
mod refusal_row;
mod refused;
mod settle;
pub mod stored;
pub mod table;

pub use control::Control;
pub use decline::Decline;
pub use header_list::HeaderList;
pub use native::{
    Admission, Call, CallLog, EventStream, Execution, Fetch, Fetched, Halt, Head, NativeRoute, PathParams, Reply,
    ReplyBody, RoutePolicy, Services,
};
