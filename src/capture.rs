//! Bounded copies of live traffic on their way to `parity record`: what the edge and the provider client put into a
//! [`Tap`], and the [`Sink`] that takes it. Off unless a sink is plugged in; then a copy is all that it costs.
//! It must never wait, fail a request, do I/O, or be logged: it holds keys and prompts as they came.
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// What decides which requests are captured and what becomes of them.
pub trait Sink: Send + Sync {
    /// Asked once for each request, before its body is read. `None`: not this one.
    fn begin(&self, route: &str, method: &Method, target: &str, headers: &HeaderMap) -> Option<Tap>;
    /// The answer was sent whole.
    fn finish(&self, tap: &Tap, served: Served);
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    Native,
    /// passed through; with the reason where a native route declined
    Python(Option<&'static str>),
}

/// A body of at most so many bytes.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub bytes: Vec<u8>,
    /// there was more than may be kept: worthless
    pub over: bool,
}

impl Part {
    fn push(&mut self, piece: &[u8], most: usize) {
        if self.over || self.bytes.len() + piece.len() > most {
            *self = Self { bytes: Vec::new(), over: true };
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }
}

/// One side of a conversation: names in order, values as bytes.
pub type Headers = Vec<(String, Vec<u8>)>;

fn copied(headers: &HeaderMap) -> Headers {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// How a provider's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Complete,
    Cut,
    /// by RST, before there was an answer
    Reset,
    /// nothing came for too long
    Timeout,
    /// not even a connection
    Connect,
}

/// One call to a provider.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub headers: Headers,
    pub body: Part,
    /// `None`: no answer came
    pub status: Option<u16>,
    pub answer_headers: Headers,
    /// as it came, perhaps compressed
    pub answer: Part,
    /// `None`: the reader stopped before the end, having had all it wanted
    pub end: Option<End>,
}

/// One request with its answer and the provider's part.
#[derive(Debug, Clone)]
pub struct Taken {
    /// route id
    pub route: String,
    pub at: SystemTime,
    pub method: String,
    /// raw path and query
    pub target: String,
    pub headers: Headers,
    pub body: Part,
    pub status: u16,
    pub answer_headers: Headers,
    pub answer: Part,
    pub exchanges: Vec<Exchange>,
    /// whose exchanges these are was told by their texts only
    pub unsure: bool,
    /// the edge makes the calls to providers itself, and notes them
    pub edge_calls: bool,
    /// cannot become a case
    pub spoiled: bool,
}

struct Inner {
    taken: Mutex<Taken>,
    most: usize,
    /// given back when the last handle goes
    _slot: Box<dyn Send + Sync>,
}

/// A handle on one capture; cheap to clone.
#[derive(Clone)]
pub struct Tap(Arc<Inner>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

tokio::task_local! {
    static CURRENT: Tap;
}

/// Runs `work` so that provider calls made in it are put into `tap`.
pub async fn scope<T>(tap: Tap, work: impl Future<Output = T>) -> T {
    CURRENT.scope(tap, work).await
}

impl Tap {
    /// `most`: bytes of each body. `slot`: kept for as long as the capture lives.
    pub fn new(
        route: &str,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        most: usize,
        slot: Box<dyn Send + Sync>,
    ) -> Self {
        let taken = Taken {
            route: route.to_owned(),
            at: SystemTime::now(),
            method: method.as_str().to_owned(),
            target: target.to_owned(),
            headers: copied(headers),
            body: Part::default(),
            status: 0,
            answer_headers: Vec::new(),
            answer: Part::default(),
            exchanges: Vec::new(),
            unsure: false,
            edge_calls: false,
            spoiled: false,
        };
        Self(Arc::new(Inner { taken: Mutex::new(taken), most, _slot: slot }))
    }

    /// Looks at or changes what was taken.
    pub fn with<T>(&self, work: impl FnOnce(&mut Taken) -> T) -> T {
        work(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of the client's body.
    pub fn body(&self, piece: &[u8]) {
        self.lock().body.push(piece, self.0.most);
    }

    /// The head of the answer.
    pub fn answer_head(&self, status: StatusCode, headers: Headers) {
        let mut taken = self.lock();
        taken.status = status.as_u16();
        taken.answer_headers = headers;
    }

    /// As [`Tap::answer_head`], from Python.
    pub fn python_head(&self, status: StatusCode, headers: &HeaderMap) {
        self.answer_head(status, copied(headers));
    }

    /// A piece of the answer.
    pub fn answer(&self, piece: &[u8]) {
        self.lock().answer.push(piece, self.0.most);
    }

    /// The edge makes the calls to providers itself.
    pub fn edge_calls(&self) {
        self.lock().edge_calls = true;
    }

    /// It cannot become a case.
    pub fn spoil(&self) {
        self.lock().spoiled = true;
    }

    /// Begins a call to a provider.
    pub fn exchange(&self, headers: Headers, body: &[u8]) -> ExchangeTap {
        let mut part = Part::default();
        part.push(body, self.0.most);
        let exchange = Exchange {
            headers,
            body: part,
            status: None,
            answer_headers: Vec::new(),
            answer: Part::default(),
            end: None,
        };
        let mut taken = self.lock();
        taken.exchanges.push(exchange);
        ExchangeTap { tap: self.clone(), index: taken.exchanges.len() - 1 }
    }
}

/// A provider call of the running request; `None` where nothing is captured.
pub fn exchange(headers: &http::HeaderMap, body: &Bytes) -> Option<ExchangeTap> {
    CURRENT
        .try_with(|tap| {
            let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
            tap.exchange(headers.collect(), body)
        })
        .ok()
}

/// A handle on one call to a provider.
#[derive(Debug, Clone)]
pub struct ExchangeTap {
    tap: Tap,
    index: usize,
}

impl ExchangeTap {
    fn with(&self, work: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.tap.lock().exchanges.get_mut(self.index) {
            work(exchange);
        }
    }

    pub fn head(&self, status: StatusCode, headers: &HeaderMap) {
        self.with(|exchange| {
            exchange.status = Some(status.as_u16());
            exchange.answer_headers = copied(headers);
        });
    }

    /// A piece of the answer as it came.
    pub fn piece(&self, piece: &[u8]) {
        let most = self.tap.0.most;
        self.with(|exchange| exchange.answer.push(piece, most));
    }

    pub fn end(&self, end: End) {
        self.with(|exchange| exchange.end = Some(end));
    }
}

/// A handle that keeps nothing alive.
pub struct WeakTap(Weak<Inner>);

impl WeakTap {
    pub fn upgrade(&self) -> Option<Tap> {
        self.0.upgrade().map(Tap)
    }

    /// Whether this is that one.
    pub fn is(&self, tap: &Tap) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&tap.0))
    }
}

impl Tap {
    pub fn downgrade(&self) -> WeakTap {
        WeakTap(Arc::downgrade(&self.0))
    }
}
