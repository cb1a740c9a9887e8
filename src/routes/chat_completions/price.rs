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
