//! Where the edge hands copies of traffic to a recorder ([`crate::capture`]); nothing where none is plugged in.
use pingora::proxy::Session;

use super::{ctx::Ctx, state::Edge};
use crate::{capture::Served, routes::Decline, telemetry::access_log::Side};

/// Asks the recorder whether it wants this request; its route is known.
pub(super) fn begin(edge: &Edge, session: &Session, ctx: &mut Ctx) {
    if let Some(sink) = &edge.hooks.capture {
        let request = session.req_header();
        let target = String::from_utf8_lossy(request.raw_path());
        ctx.tap = sink.begin(&ctx.record.route, &request.method, &target, &request.headers);
    }
}

/// The answer went out whole.
pub(super) fn finish(edge: &Edge, ctx: &mut Ctx) {
    let (Some(tap), Some(sink), false) = (ctx.tap.take(), &edge.hooks.capture, ctx.record.client_gone) else { return };
    match ctx.record.side {
        Side::Native => sink.finish(&tap, Served::Native),
        Side::Python => sink.finish(&tap, Served::Python(ctx.record.decline.map(Decline::as_str))),
        Side::Edge => {} // nothing that Python could be compared with
    }
}
