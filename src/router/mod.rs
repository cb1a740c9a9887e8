//! Model group -> deployment. Pure: randomness is an argument. Only LiteLLM's default strategy, simple-shuffle;
//! configurations that ask for more decline (see `config`).
use std::sync::Arc;

use crate::config::{Deployment, ModelGroup};

/// LiteLLM `router_strategy/simple_shuffle.py`: the first of weight, rpm, tpm that any deployment sets decides the
/// odds (a deployment without it counts 0); otherwise all are equal. `dice` is uniform in [0, 1).
pub fn simple_shuffle(group: &ModelGroup, dice: f64) -> Option<&Arc<Deployment>> {
    let deployments = &group.deployments;
    let by: [fn(&Deployment) -> Option<f64>; 3] = [|d| d.weight, |d| d.rpm, |d| d.tpm];
    for measure in by {
        let total: f64 = deployments.iter().filter_map(|d| measure(d)).filter(|w| *w > 0.0).sum();
        if total > 0.0 {
            let mut left = dice * total;
            for deployment in deployments {
                let weight = measure(deployment).unwrap_or(0.0).max(0.0);
                if left < weight {
                    return Some(deployment);
                }
                left -= weight;
            }
            return deployments.iter().rev().find(|d| measure(d).is_some_and(|w| w > 0.0));
        }
    }
    deployments.get((dice * deployments.len() as f64) as usize)
}
