//! Which price a call has (LiteLLM cost_calculator.py `_select_model_name_for_cost_calc`): the rules are
//! `config::Deployment::pricing_for` and `spend::Pricing::for_tier`; here they meet the answer.
use crate::{
    config::Deployment,
    spend::{self, Cost},
};

/// US dollars of a call; `None` where LiteLLM has no price.
pub(super) fn cost(
    deployment: &Deployment,
    answered_as: Option<&str>,
    tier: Option<&str>,
    usage: &spend::Usage,
) -> Option<Cost> {
    let pricing = deployment.pricing_for(answered_as)?;
    Some(spend::cost(pricing.for_tier(tier), usage))
}

/// US dollars that the prompt would cost without any cache.
pub(super) fn uncached_input(
    deployment: &Deployment,
    answered_as: Option<&str>,
    tier: Option<&str>,
    usage: &spend::Usage,
) -> f64 {
    let plain = spend::Usage { cache_read: 0, cache_creation: 0, cache_creation_1h: 0, ..*usage };
    cost(deployment, answered_as, tier, &plain).map_or(0.0, |cost| cost.input)
}
