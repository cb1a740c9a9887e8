//! Lazy JSON: one validating pass over a document, members as slices of it, and a writer that splices slices back.
//! Nothing here builds a tree. It accepts exactly what both orjson and a provider would read alike: duplicate keys
//! are reported, lone surrogates, NaN, and nesting over [`MAX_DEPTH`] are refused, so that the caller can decline.
mod raw;
mod scan;
mod special;
mod write;

pub use raw::{Kind, Object, Raw};
pub use scan::{MAX_DEPTH, NotJson};
pub use write::{ObjectWriter, plain_float, push_number, push_padded, push_string};
