//! Which price a call has: LiteLLM's `_select_model_name_for_cost_calc`. The provider's own name of the model decides,
//! where the price map knows it; prices in `litellm_params` win over both. Pure but for a small cache.
use std::{
    collections::HashMap,
    sync::{LazyLock, RwLock},
};

use crate::{
    config::{Deployment, openai_pricing},
    spend::{self, Cost, Pricing},
};

/// Names come from providers: the cache is bounded.
const MOST: usize = 1024;

type Cache = RwLock<HashMap<(String, Option<String>), Option<Pricing>>>;
static CACHE: LazyLock<Cache> = LazyLock::new(Cache::default);

fn mapped(model: &str, tier: Option<&str>) -> Option<Pricing> {
    let tier = tier.filter(|tier| matches!(*tier, "priority" | "flex"));
    let key = (model.to_owned(), tier.map(str::to_owned));
    if let Some(found) = CACHE.read().ok().and_then(|cache| cache.get(&key).cloned()) {
        return found;
    }
    let pricing = openai_pricing(model, tier);
    if let Ok(mut cache) = CACHE.write() {
        if cache.len() >= MOST {
            cache.clear();
        }
        cache.insert(key, pricing.clone());
    }
    pricing
}

/// US dollars of a call; `None` where LiteLLM has no price.
pub(super) fn cost(
    deployment: &Deployment,
    answered_as: Option<&str>,
    tier: Option<&str>,
    usage: &spend::Usage,
) -> Option<Cost> {
    let own = mapped(&deployment.model, None);
    // prices in `litellm_params` are not the map's
    let pricing = match &deployment.pricing {
        Some(custom) if own.as_ref() != Some(custom) => Some(custom.clone()),
        _ => answered_as.and_then(|model| mapped(model, tier)).or_else(|| mapped(&deployment.model, tier)),
    };
    pricing.map(|pricing| spend::cost(&pricing, usage))
}
