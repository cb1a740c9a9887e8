//! The configuration as the request path sees it: everything resolved, nothing left to parse.
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    Coordination, Listing,
    outgoing::OutgoingHeaders,
    prices::{self, PriceMap},
};
use crate::{routes::Decline, secret::Secret, spend::Pricing};

/// The provider of a deployment, as LiteLLM's `get_llm_provider` infers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// `openai/...` (any `api_base`) and models LiteLLM knows as OpenAI's
    OpenAi,
    Anthropic,
    /// any other provider by LiteLLM's name: its requests decline
    Other(String),
}

impl Provider {
    pub fn as_str(&self) -> &str {
        match self {
            Provider::OpenAi => "openai",
            Provider::Anthropic => "anthropic",
            Provider::Other(name) => name,
        }
    }
}

/// A reason out of the configuration, with the key that is to blame (`litellm_settings.callbacks`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDecline {
    pub decline: Decline,
    pub key: String,
}

/// One entry of `model_list`.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// `model_info.id`, or LiteLLM's sha256 over name and params (router.py `_generate_model_id`)
    pub id: String,
    pub model_group: String,
    pub provider: Provider,
    /// what the provider is asked for: `gpt-4o`
    pub model: String,
    /// `litellm_params.model` with its provider: `openai/gpt-4o` (header `x-litellm-model-name`)
    pub litellm_model: String,
    /// without trailing slash; `None` is the provider's own address
    pub api_base: Option<String>,
    pub api_key: Option<Secret>,
    pub organization: Option<String>,
    /// `litellm_params` that are request defaults (`temperature`, `max_tokens`, ...); the client's value wins
    pub default_params: Map<String, Value>,
    pub extra_headers: Vec<(String, String)>,
    /// `litellm_params.timeout` / `stream_timeout`
    pub timeout: Option<Duration>,
    pub stream_timeout: Option<Duration>,
    pub weight: Option<f64>,
    pub rpm: Option<f64>,
    pub tpm: Option<f64>,
    /// `None`: LiteLLM has no price for it, cost is 0
    pub pricing: Option<Pricing>,
    /// cost-map facts about the model (`max_output_tokens`, `mode`, `supports_*`); empty where unknown
    pub model_info: Map<String, Value>,
    /// the same with the facts of `model_info.base_model`, where there is one: what LiteLLM says of it in lists and limits
    pub base_info: Option<Map<String, Value>>,
    /// JSON text for spend logs, see [`crate::spend::model_map`]; `None`: not known exactly, no row is written
    pub model_map: Option<Arc<str>>,
    /// its row of `/model/info`; `None`: not known exactly
    pub listing: Option<Arc<Listing>>,
    /// `model_info.access_groups`: names that stand for this deployment's model in lists of models
    pub access_groups: Vec<String>,
    /// no key of its `model_info` changes how models are listed (`display_name`, `discoverable`, `blocked`, ...)
    pub lists_plainly: bool,
    /// why requests to this deployment go to Python
    pub declines: Vec<ConfigDecline>,
    /// where calls go, ready to use: `{api_base}/chat/completions` (openai), `{api_base}/v1/messages` (anthropic)
    pub uri: Option<http::Uri>,
    /// further model names that answers may carry, with their prices
    pub prices: Prices,
    /// calls at a time: LiteLLM refuses more with 429 (utils.py `calculate_max_parallel_requests`: rpm, else tpm / 1000 * 6)
    pub slots: Slots,
    /// the headers that its calls have in common
    pub outgoing: OutgoingHeaders,
}

/// How the price of an answer is found.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    /// `litellm_params` or `model_info` set prices or a `base_model`: the answer's model name does not matter
    pub(crate) fixed: bool,
    /// prices by the answer's model name, filled as names turn up; bounded
    pub(crate) seen: Arc<RwLock<HashMap<String, Option<Arc<Pricing>>>>>,
}

/// A bound on calls at a time that clones share.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    /// `None`: no bound
    pub limit: Option<u32>,
    pub(crate) taken: Arc<AtomicU32>,
}

/// One call in flight; free again when dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicU32>);

impl Slots {
    /// `None`: as many calls as LiteLLM allows are in flight. The request goes to Python, which counts for itself.
    pub fn take(&self) -> Option<Slot> {
        let slot = Slot(Arc::clone(&self.taken));
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        self.limit.is_none_or(|limit| before < limit).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Most foreign model names remembered for one deployment.
const MAX_SEEN: usize = 256;

impl Deployment {
    /// Prices of an answer, by the model name the provider wrote into it: LiteLLM prices what was served, not what was
    /// asked for, unless the deployment sets its own prices (cost_calculator.py `select_model_name_for_cost_calc`).
    /// An unknown name is priced as the deployment's own model. `None`: no price, the cost is 0.
    pub fn pricing_for(&self, response_model: Option<&str>) -> Option<Cow<'_, Pricing>> {
        let own = || self.pricing.as_ref().map(Cow::Borrowed);
        let Some(name) = response_model.filter(|name| !self.prices.fixed && !name.is_empty() && *name != self.model)
        else {
            return own();
        };
        if let Some(known) = self.prices.seen.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return known.as_ref().map_or_else(own, |pricing| Some(Cow::Owned(Pricing::clone(pricing))));
        }
        let found =
            PriceMap::default().find(name, self.provider.as_str()).map(|entry| Arc::new(prices::pricing(&entry)));
        let mut seen = self.prices.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_SEEN && name.len() <= 256 {
            seen.insert(name.to_owned(), found.clone());
        }
        drop(seen);
        found.map_or_else(own, |pricing| Some(Cow::Owned(Pricing::clone(&pricing))))
    }
}

/// All deployments that share a `model_name`, in file order.
#[derive(Debug, Clone)]
pub struct ModelGroup {
    pub name: String,
    pub deployments: Vec<Arc<Deployment>>,
}

/// Settings the request path honours; everything else is in [`Snapshot::declines`] or has no bearing.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `litellm_settings.request_timeout`; LiteLLM's default is 6000 s
    pub request_timeout: Option<Duration>,
    /// `litellm_settings.drop_params`
    pub drop_params: bool,
    /// `general_settings.litellm_key_header_name`
    pub key_header_name: Option<String>,
    /// `litellm_settings.require_auth_for_metrics_endpoint` (default true)
    pub metrics_auth: bool,
    /// Python serves its own `/metrics` (`callbacks: [prometheus]`)
    pub python_metrics: bool,
    /// environment `SERVER_ROOT_PATH` (one prefix) or `SERVER_ROOT_PATHS` (a list of them): Python strips them from paths
    pub root_path: Option<String>,
    /// `general_settings.database_url` or `DATABASE_URL` is set
    pub has_database: bool,
    /// `general_settings.include_call_id_in_error_body`
    pub call_id_in_error_body: bool,
    /// `general_settings.user_api_key_cache_ttl`
    pub key_ttl: Option<std::time::Duration>,
    /// `general_settings.allow_requests_on_db_unavailable`: readiness stays 200 while the database is away
    pub ready_without_database: bool,
    /// `general_settings.proxy_batch_write_at`: seconds between two writes of spend
    pub spend_flush: Option<Duration>,
    /// LiteLLM loads models and settings from the database, and the edge does
    pub models_in_database: bool,
    /// `general_settings.disable_model_info_refresh`: LiteLLM asks no provider for the limits of its models
    pub no_discovery: bool,
    /// a setting changes what LiteLLM writes down: the edge then keeps no books, and virtual keys are Python's
    pub other_books: bool,
    /// a setting changes how limits and budgets are held: who has one is Python's
    pub other_limits: bool,
    /// `default_redis_ttl`: seconds a spend counter lives after its last change; LiteLLM's default is 60
    pub counter_ttl: Option<i64>,
}

/// One immutable view of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// sha256 of the resolved configuration without secrets' values; shown by the status page
    pub digest: String,
    pub master_key: Option<Secret>,
    pub settings: Settings,
    /// model group by `model_name`
    pub groups: HashMap<String, Arc<ModelGroup>>,
    /// names in file order, for `/v1/models`
    pub group_order: Vec<String>,
    /// all deployments in file order, for `/model/info`
    pub deployments: Vec<Arc<Deployment>>,
    /// configuration that makes every model call decline
    pub declines: Vec<ConfigDecline>,
    /// further names a request may use as `model` and Python would route: aliases, wildcards, deployment ids
    pub other_names: bool,
    pub database_url: Option<Secret>,
    /// where LiteLLM's processes share their counters
    pub coordination: Coordination,
    /// names that LiteLLM rewrites to a group before it looks for one (`model_group_alias`)
    pub aliases: HashSet<String>,
}

impl Snapshot {
    /// A database is configured, and the edge writes no spend there: it knows no address, or settings ask for other rows.
    pub fn keeps_no_books(&self) -> bool {
        let shared = !matches!(self.coordination, Coordination::Unsupported(_));
        self.settings.has_database && (self.database_url.is_none() || self.settings.other_books || !shared)
    }

    /// The model group a request's `model` names exactly. Aliases, wildcards, deployment ids, comma lists and unknown
    /// names are Python's.
    pub fn resolve(&self, model: &str) -> Result<&Arc<ModelGroup>, Decline> {
        self.groups.get(model).filter(|_| !self.aliases.contains(model)).ok_or(Decline::Model)
    }
}
