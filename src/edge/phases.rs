//! The way of a request through Pingora's phases: hygiene, decision, admission, then native, Python or the edge's own
//! pages; and what is logged at its end.
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, header};
use pingora::{
    Error, ErrorSource, ErrorType,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use super::{
    admin, body,
    ctx::{Ctx, Gauge, blank},
    decide::{self, Caller, Decision, UNLISTED},
    guard, hygiene, native, passthrough, record, replay, reply, request_line,
    state::Edge,
};
use crate::{
    auth,
    error::{EdgeError, Failure},
    faults::fault,
    routes::{Call, Decline, Head, NativeRoute, PathParams, RoutePolicy, stored},
    telemetry::{
        access_log::{Label, Side},
        metrics::AbortedBy,
    },
};

/// The log's status where the client left before an answer began (nginx's word for it).
pub(super) const CLIENT_GONE: u16 = 499;

/// The proxy: everything it knows is in [`Edge`].
pub(super) struct Proxy(pub(super) Arc<Edge>);

/// What the first phases found out.
enum Way {
    /// Pingora's pass-through; the body is untouched
    Through,
    Replay(replay::Body),
    Native(crate::routes::Execution),
}

impl Proxy {
    async fn way(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        query: Option<String>,
        decision: Decision,
    ) -> pingora::Result<Way> {
        match decision {
            Decision::Python { route, reason } => {
                ctx.record.route = Label::Named(route);
                ctx.record.reason = Some(reason);
                record::begin(&self.0, session, ctx);
                Ok(Way::Through)
            }
            Decision::Native { route, params, policy } => {
                ctx.record.route = Label::Fixed(route.id);
                record::begin(&self.0, session, ctx);
                self.admit(session, ctx, query, route, params, policy).await
            }
        }
    }

    /// Admission: the head first, then the body, then the whole. A decline is counted once and is final.
    async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        query: Option<String>,
        route: &'static NativeRoute,
        params: Arc<PathParams>,
        policy: Arc<RoutePolicy>,
    ) -> pingora::Result<Way> {
        let edge = &*self.0;
        let snapshot = edge.snapshot.load_full();
        let request = session.req_header();
        let head = Head {
            method: request.method.clone(),
            path: ctx.record.path.clone(),
            query,
            headers: request.headers.clone(),
            client: passthrough::client_ip(session),
        };
        let declined_by_head = if head.headers.contains_key(header::ORIGIN) {
            Some(Decline::Cors)
        } else if route.needs_body && snapshot.keeps_no_books() && !policy.accept_no_spend_rows {
            Some(Decline::SpendInDatabase)
        } else {
            guard::call(|| (route.admit_head)(&head, &snapshot)).unwrap_or(Err(Decline::Fault)).err()
        };
        if let Some(reason) = declined_by_head {
            self.decline(ctx, route, reason);
            return Ok(Way::Through);
        }
        let body = if route.needs_body && !session.is_body_empty() {
            let declared = match body::declared(&head.headers) {
                Some(length) if length > edge.config.max_native_body as u64 => {
                    self.decline(ctx, route, Decline::BodyTooLarge);
                    return Ok(Way::Through);
                }
                length => length.map(|length| length as usize),
            };
            let mut held = body::Held::new(&edge.bodies);
            if declared.is_some_and(|length| !held.more(length)) {
                self.decline(ctx, route, Decline::BodyTooLarge);
                return Ok(Way::Through);
            }
            if head.headers.contains_key(header::EXPECT) {
                session.downstream_session.write_continue_response().await.map_err(|error| error.into_down())?;
            }
            let reading = body::read(session, declared, edge.config.max_native_body, &mut held);
            let read = match tokio::time::timeout(edge.config.client_body_timeout, reading).await {
                Ok(read) => read.map_err(|error| error.into_down())?,
                Err(_) => return Err(Error::explain(ErrorType::ReadTimedout, "request body").into_down()),
            };
            ctx.held = Some(held);
            match read {
                body::Read::Whole(body) => {
                    if let Some(tap) = &ctx.tap {
                        tap.body(&body);
                    }
                    body
                }
                body::Read::Over(prefix) => {
                    ctx.tap = None;
                    self.decline(ctx, route, Decline::BodyTooLarge);
                    return Ok(Way::Replay(replay::Body::Rest(prefix)));
                }
            }
        } else {
            Bytes::new()
        };
        let caller = match route.needs_caller {
            true => auth::look_up(&head, &snapshot, &edge.services.control.directory).await,
            false => Ok(auth::Caller::Nobody),
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(reason) => {
                self.decline(ctx, route, reason);
                return Ok(if body.is_empty() { Way::Through } else { Way::Replay(replay::Body::Whole(body)) });
            }
        };
        let call = Call {
            head: Arc::new(head),
            caller,
            fetched: None,
            params,
            policy,
            body: body.clone(),
            snapshot,
            services: edge.services.clone(),
            started: ctx.record.started,
            now: SystemTime::now(),
        };
        // admission has no side effects: what it cannot decide, Python can
        match native::admit(route, call).await {
            Ok(execution) => Ok(Way::Native(execution)),
            Err(reason) => {
                self.decline(ctx, route, reason);
                // an empty body was not taken from anybody: Pingora's own way is open
                Ok(if body.is_empty() { Way::Through } else { Way::Replay(replay::Body::Whole(body)) })
            }
        }
    }

    fn decline(&self, ctx: &mut Ctx, route: &'static NativeRoute, reason: Decline) {
        ctx.record.decline = Some(reason);
        if !fault!(DeclineNotCounted) {
            let metrics = &self.0.services.metrics;
            metrics.route(route.id).declined(metrics, reason);
        }
        self.0.decider.declined(route, reason);
    }

    fn count_in(&self, ctx: &mut Ctx, side: Side) {
        let gauge = self.0.services.metrics.in_flight(side).clone();
        gauge.inc();
        ctx.gauge = Some(Gauge(gauge));
    }

    /// Answers with a failure of the edge itself.
    async fn refuse(&self, session: &mut Session, ctx: &mut Ctx, error: EdgeError) -> pingora::Result<()> {
        ctx.record.side = Side::Edge;
        let reply = reply::failure(&Failure::from(error), reply::dialect(&ctx.record.path));
        native::write(session, ctx, native::Watch::default(), reply, Side::Edge).await
    }

    /// True: answered.
    async fn serve(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
        let edge = &*self.0;
        if edge.drain.is_draining() {
            session.set_keepalive(None);
        } else if session.get_keepalive() == Some(0) {
            // Pingora's "for ever" is not ours
            session.set_keepalive(Some(edge.config.client_idle_timeout.as_secs().max(1)));
        }
        if session.is_upgrade_req() {
            // a WebSocket may be silent for as long as Python lets it
            session.set_read_timeout(Some(edge.config.python_timeout));
        }
        let request = session.req_header();
        let target = hygiene::target(request.raw_path());
        let (path, query, matchable) = (target.path.into_owned(), target.query.map(str::to_owned), target.matchable);
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let raw_head = || session.as_http1().map(|h1| h1.get_headers_raw_bytes());
        let mut checked =
            hygiene::check(request.version, &request.method, request.raw_path(), authority, &request.headers, raw_head);
        if !ctx.plain_line {
            checked = Err("invalid request line");
        }
        ctx.record.method = request.method.clone();
        ctx.record.path = path;
        if let Err(what) = checked {
            session.set_keepalive(None);
            self.refuse(session, ctx, EdgeError::Malformed(what)).await?;
            return Ok(true);
        }
        if matchable && admin::is_ours(&ctx.record.path) {
            ctx.record.side = Side::Edge;
            ctx.record.route = Label::Fixed("edge");
            let request = session.req_header();
            let head = Head {
                method: request.method.clone(),
                path: ctx.record.path.clone(),
                query,
                headers: request.headers.clone(),
                client: passthrough::client_ip(session),
            };
            let mut held = body::Held::new(&edge.bodies);
            let reading = body::read(session, None, admin::MAX_BODY, &mut held);
            let body = match tokio::time::timeout(edge.config.client_body_timeout, reading).await {
                Ok(Ok(body::Read::Whole(body))) => body,
                Ok(Err(error)) => return Err(error.into_down()),
                // the rest is not read: the connection ends with the answer
                Ok(Ok(body::Read::Over(body))) => {
                    session.set_keepalive(None);
                    body
                }
                Err(_) => return Err(Error::explain(ErrorType::ReadTimedout, "request body").into_down()),
            };
            let reply = admin::answer(&head, &body, edge);
            native::write(session, ctx, native::Watch::default(), reply, Side::Edge).await?;
            return Ok(true);
        }
        // an HTTP/1.1 connection has one request in flight; one of HTTP/2 must not have a hundred times its share of memory
        if edge.drain.in_flight() > edge.config.max_connections {
            session.set_keepalive(None);
            self.refuse(session, ctx, EdgeError::Busy).await?;
            return Ok(true);
        }
        if let Some(tracer) = &edge.config.tracer {
            ctx.record.trace = Some(passthrough::begin_trace(tracer, session.req_header_mut())?);
        }
        let way = if matchable && !session.is_upgrade_req() {
            let request = session.req_header();
            let caller = Caller {
                key: decide::presented_key(&request.headers),
                ip: passthrough::client_ip(session),
                random: fastrand::u64(..),
            };
            let decision = edge.decider.decide(&request.method, &ctx.record.path, caller);
            self.way(session, ctx, query, decision).await?
        } else {
            Way::Through
        };
        let way = match way {
            Way::Native(execution) => {
                self.count_in(ctx, Side::Native);
                return native::run(edge, session, ctx, execution).await.map(|()| true);
            }
            way => way,
        };
        if edge.python.is_none() {
            let route = ctx.record.route.to_string();
            let reason = ctx.record.decline.map(Decline::as_str).or(ctx.record.reason).unwrap_or(UNLISTED);
            self.refuse(session, ctx, EdgeError::NoPython { route, reason }).await?;
            return Ok(true);
        }
        self.count_in(ctx, Side::Python);
        match way {
            Way::Replay(body) => {
                let metrics = &edge.services.metrics;
                metrics.route(&ctx.record.route).replayed(metrics);
                replay::run(edge, session, ctx, body).await.map(|()| true)
            }
            Way::Through | Way::Native(_) => Ok(false),
        }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx {
            plain_line: request_line::head_is_read(),
            record: blank(Instant::now()),
            in_flight: Some(self.0.drain.enter()),
            held: None,
            detached: false,
            gauge: None,
            tap: None,
            connected: None,
        }
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {} // no compression module: bodies pass as they are

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
        self.serve(session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, _: &mut Ctx) -> pingora::Result<Box<HttpPeer>> {
        match self.0.python.as_ref().and_then(|python| python.peer(session.is_upgrade_req())) {
            Some(peer) => Ok(peer),
            None => Err(Error::explain(ErrorType::ConnectRefused, "python has no address").into_up()),
        }
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: std::os::unix::io::RawFd,
        _: Option<&pingora::protocols::Digest>,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        ctx.connected = Some(Instant::now());
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut Ctx,
    ) -> pingora::Result<()> {
        passthrough::adapt_request(&self.0, session, request)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        if let (Some(tap), Some(piece)) = (&ctx.tap, &body) {
            tap.body(piece);
        }
        // cloudflare/pingora#935: an empty last piece would be written as a second end of the chunked body
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        passthrough::sound(response, session.is_upgrade_req())?;
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        if let Some(tap) = &ctx.tap {
            tap.python_head(response.status, &response.headers);
        }
        ctx.record.first_byte = Some(Instant::now());
        if response.status == StatusCode::INTERNAL_SERVER_ERROR
            && let Some(python) = &self.0.python
        {
            python.distrust_pooled();
        }
        let request = session.req_header();
        if response.status.is_success() {
            // before the caller hears that it is done
            let directory = &self.0.services.control.directory;
            auth::invalidation::went_by(&request.method, request.uri.path(), directory);
        }
        if response.status.is_success() && stored::may_change(&request.method, request.uri.path()) {
            self.0.services.control.models.doubt(&self.0.snapshot);
        }
        response.insert_header(passthrough::EDGE_HEADER, "python")
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> pingora::Result<Option<std::time::Duration>> {
        if let (Some(tap), Some(piece)) = (&ctx.tap, body) {
            tap.answer(piece);
        }
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        let broken = passthrough::unanswered(&error);
        let replayable = !session.as_ref().retry_buffer_truncated() && session.response_written().is_none();
        let soon = || ctx.connected.is_some_and(|at| at.elapsed() <= self.0.config.stale_window);
        let again = reused && broken && replayable && (session.req_header().method.is_idempotent() || soon());
        error.set_retry(again);
        if again {
            let metrics = &self.0.services.metrics;
            metrics.route(&ctx.record.route).resent(metrics);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        let failed = FailToProxy { error_code: 0, can_reuse_downstream: false };
        if error.esource() == &ErrorSource::Internal {
            tracing::error!(%error, route = &*ctx.record.route, "the edge failed to handle a request");
        }
        let Some(failure) = passthrough::classify(&self.0, error) else {
            ctx.record.client_gone = true;
            ctx.record.aborted = Some(AbortedBy::Client);
            tracing::debug!(%error, route = &*ctx.record.route, "client left");
            return failed;
        };
        if let Some(kind) = passthrough::kind(&failure) {
            ctx.record.python_error = Some(kind);
            self.0.services.metrics.python_errors.with_label_values(&[kind]).inc();
            self.0.python_health.suspect();
            tracing::warn!(kind, cause = %error.etype().as_str(), route = &*ctx.record.route, "python gateway failed");
        }
        if session.response_written().is_some_and(|head| !head.status.is_informational()) {
            ctx.record.aborted = Some(AbortedBy::Origin);
            return failed; // cut where Python cut
        }
        let code = Failure::from(failure.clone()).status.as_u16();
        session.set_keepalive(None);
        if let Err(error) = self.refuse(session, ctx, failure).await {
            tracing::debug!(%error, "client left before it was told of a failure");
            ctx.record.client_gone = true;
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true // `fail_to_proxy` has said what matters
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        ctx.gauge = None;
        if ctx.detached {
            return;
        }
        let status = session.response_written().map_or(CLIENT_GONE, |head| head.status.as_u16());
        let downstream = &session.downstream_session;
        ctx.record.bytes = (downstream.body_bytes_read(), downstream.body_bytes_sent());
        ctx.record.finish(status, &self.0.services.metrics);
        if error.is_none() {
            record::finish(&self.0, ctx);
        }
    }
}
