//! What belongs to one request while Pingora's phases go over it. It must never decide anything.
use std::time::Instant;

use super::{body, decide::UNLISTED, drain::InFlight};
use crate::{
    capture::Tap,
    routes::CallLog,
    telemetry::access_log::{Label, Record, Side},
};

/// What belongs to one request.
pub(super) struct Ctx {
    /// HTTP/1: the request line came as three words
    pub(super) plain_line: bool,
    pub(super) record: Record,
    pub(super) in_flight: Option<InFlight>,
    /// the request's share of the memory for bodies
    pub(super) held: Option<body::Held>,
    /// the record was handed on: somebody else logs
    pub(super) detached: bool,
    pub(super) gauge: Option<Gauge>,
    /// where a copy goes while traffic is recorded
    pub(super) tap: Option<Tap>,
    /// when the connection to Python was taken, for `passthrough`'s rule on broken ones
    pub(super) connected: Option<Instant>,
}

/// One in [`crate::telemetry::Metrics::in_flight`], however the request ends.
pub(super) struct Gauge(pub(super) prometheus::IntGauge);

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Ctx {
    /// Takes what must outlive the request.
    pub(super) fn detach(&mut self) -> (Record, Option<InFlight>, Option<body::Held>) {
        self.detached = true;
        let fresh = blank(self.record.started);
        (std::mem::replace(&mut self.record, fresh), self.in_flight.take(), self.held.take())
    }
}

pub(super) fn blank(started: Instant) -> Record {
    Record {
        started,
        method: http::Method::GET,
        path: String::new(),
        route: Label::Fixed(UNLISTED),
        side: Side::Python,
        reason: None,
        decline: None,
        client_gone: false,
        python_error: None,
        first_byte: None,
        aborted: None,
        bytes: (0, 0),
        call: CallLog::default(),
        trace: None,
    }
}
