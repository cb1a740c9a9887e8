//! OpenTelemetry's standard variables and options: where traces go, and which requests have one. Python may read the same
//! variables: what the edge cannot use is a warning and no traces, never a reason not to start.
use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::{
    edge::Hooks,
    percent,
    telemetry::{
        Metrics,
        otlp::{CAPACITY, Exporter, Post, Queue},
        trace::{Sampler, Tracer},
    },
    upstream::{Client, Request},
};

/// Longest wait for the collector's answer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct TraceOptions {
    /// Base URL of an OpenTelemetry collector (http://host:4318): turns traces on. Spans go to its /v1/traces as
    /// OTLP/HTTP JSON
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The same with the whole path, for traces alone; wins
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_name = "URL")]
    otlp_traces_endpoint: Option<String>,
    /// Headers for the collector: name=value,name=value
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, value_name = "LIST")]
    otlp_headers: Option<String>,
    /// Name of this service in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "litellm-rust", value_name = "NAME")]
    otel_service_name: String,
    /// always_on, always_off, traceidratio, or parentbased_ before one of them: the caller's decision counts
    #[arg(long, env = "OTEL_TRACES_SAMPLER", default_value = "parentbased_always_on", value_name = "SAMPLER")]
    traces_sampler: String,
    /// The ratio of traceidratio, 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO")]
    traces_sampler_arg: Option<String>,
    /// http/json or http/protobuf: JSON is sent, which collectors take at the same address; another one: no traces
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", default_value = "http/json", value_name = "PROTOCOL")]
    otlp_protocol: String,
    /// No traces, whatever else is set
    #[arg(long, env = "OTEL_SDK_DISABLED")]
    otel_sdk_disabled: bool,
}

impl TraceOptions {
    fn url(&self) -> Option<String> {
        let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let base = || Some(format!("{}/v1/traces", given(&self.otlp_endpoint)?.trim_end_matches('/')));
        given(&self.otlp_traces_endpoint).or_else(base).filter(|_| !self.otel_sdk_disabled)
    }
}

/// The tracer, its exporter among the edge's hooks; `None`: no collector is named, or not in a way that works.
pub(super) fn open(options: &TraceOptions, metrics: &Metrics, hooks: &mut Hooks) -> Option<Tracer> {
    let url = options.url()?;
    match tracer(options, &url, metrics, hooks) {
        Ok(tracer) => {
            tracing::info!(sampler = options.traces_sampler, "traces are on");
            Some(tracer)
        }
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "traces are off");
            None
        }
    }
}

fn tracer(options: &TraceOptions, url: &str, metrics: &Metrics, hooks: &mut Hooks) -> Result<Tracer> {
    let uri: Uri = url.parse().context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    ensure!(
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(),
        "OTEL_EXPORTER_OTLP_ENDPOINT: must be http://host:port"
    );
    let ratio = options.traces_sampler_arg.as_deref().filter(|text| !text.is_empty());
    let ratio = ratio.map(str::parse).transpose().context("OTEL_TRACES_SAMPLER_ARG")?;
    let Some(sampler) = Sampler::named(&options.traces_sampler, ratio) else {
        bail!("OTEL_TRACES_SAMPLER: {:?} is not known", options.traces_sampler);
    };
    let protocol = options.otlp_protocol.as_str();
    ensure!(matches!(protocol, "http/json" | "http/protobuf"), "OTEL_EXPORTER_OTLP_PROTOCOL: {protocol} is not spoken");
    let headers = headers(options.otlp_headers.as_deref().unwrap_or_default())?;
    let queue = Arc::new(Queue::new(CAPACITY, metrics.spans.clone()));
    let exporter = Arc::new(Exporter::new(queue.clone(), post(uri, headers), options.otel_service_name.clone()));
    let last = exporter.clone();
    hooks.background.push(Box::new(move || {
        let exporter = exporter.clone();
        Box::pin(async move { exporter.run().await })
    }));
    hooks.flush.push(Box::new(move || {
        let exporter = last.clone();
        Box::pin(async move { exporter.flush().await })
    }));
    Ok(Tracer { sampler, queue })
}

/// `name=value,name=value`; a value may be percent-encoded. Its text is a credential: errors do not quote it.
fn headers(list: &str) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let mut out = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').context("OTEL_EXPORTER_OTLP_HEADERS: name=value is expected")?;
        let name = name.trim().parse::<HeaderName>().context("OTEL_EXPORTER_OTLP_HEADERS: a name is none")?;
        let value = HeaderValue::from_bytes(&percent::decode(value.trim())).ok();
        let mut value = value.context("OTEL_EXPORTER_OTLP_HEADERS: a value can not be sent")?;
        value.set_sensitive(true);
        out.push((name, value));
    }
    Ok(out)
}

fn post(uri: Uri, headers: Vec<(HeaderName, HeaderValue)>) -> Post {
    let client = Client::new();
    let headers: HeaderMap = headers.into_iter().collect();
    Box::new(move |body: Bytes| {
        let (client, uri, headers) = (client.clone(), uri.clone(), headers.clone());
        Box::pin(async move {
            let request = Request { method: Method::POST, uri, headers, body, timeout: TIMEOUT };
            let Ok(mut answer) = client.send(request).await else { return false };
            // read, so that the connection is kept
            let _ = answer.body.read(64 << 10).await;
            answer.status.is_success()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collectors_headers_are_a_list() {
        let list = headers("authorization=Bearer%20abc%3D, x-tenant = a=b ,").unwrap();
        let shown: Vec<_> = list.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected = [("content-type", "application/json"), ("authorization", "Bearer abc="), ("x-tenant", "a=b")];
        assert_eq!(shown, expected);
        for bad in ["secret", "a b=secret", "a=sec\nret"] {
            assert!(!format!("{:#}", headers(bad).unwrap_err()).contains("sec"), "{bad}");
        }
    }

    #[test]
    fn the_url_is_the_standards() {
        let options = |base: &str, traces: &str, off| TraceOptions {
            otlp_endpoint: Some(base.into()),
            otlp_traces_endpoint: Some(traces.into()),
            otlp_headers: None,
            otel_service_name: String::new(),
            traces_sampler: "always_on".into(),
            traces_sampler_arg: None,
            otlp_protocol: "http/json".into(),
            otel_sdk_disabled: off,
        };
        assert_eq!(options("http://c:4318/", "", false).url().unwrap(), "http://c:4318/v1/traces");
        assert_eq!(options("http://c:4318", "http://t/x", false).url().unwrap(), "http://t/x");
        assert_eq!(options("", "", false).url(), None);
        assert_eq!(options("http://c:4318", "", true).url(), None);
    }

    #[test]
    fn what_cannot_be_used_is_no_reason_not_to_start() {
        let metrics = Metrics::new().unwrap();
        let good = ["--otlp-endpoint", "http://c:4318"];
        for (more, on) in [
            (&[][..], true),
            (&["--traces-sampler", "jaeger_remote"], false),
            (&["--traces-sampler-arg", "many"], false),
            (&["--otlp-protocol", "grpc"], false),
            (&["--otlp-headers", "nonsense"], false),
            (&["--otlp-traces-endpoint", "c:4317"], false),
        ] {
            let arguments = ["x"].iter().chain(&good).chain(more);
            let matches = TraceOptions::augment_args(clap::Command::new("x")).get_matches_from(arguments);
            let options = <TraceOptions as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            let mut hooks = Hooks::default();
            assert_eq!(open(&options, &metrics, &mut hooks).is_some(), on, "{more:?}");
            assert_eq!(hooks.flush.len(), usize::from(on));
        }
    }
}
