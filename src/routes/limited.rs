//! The limits of one call: what it asks of the counters, made while it is admitted, and how that is taken in the one round
//! trip before the provider is called. Who has limits where no gateway shares the counters is Python's. It must never
//! decline once the counters were asked.
use std::{borrow::Cow, sync::Arc, time::UNIX_EPOCH};

use super::{Call, Decline, named_rows::Standings, settle};
use crate::{
    auth::{Caller, Named, NamedRow, Standing},
    config::{Coordination, ModelGroup},
    json::{Object, ObjectWriter},
    limits::{
        Ask, Budgets, Limits, Refusal, Reservation, Settings, Subject, budget_windows,
        budgets::{self, Entity, Others},
        descriptors::{self, Rates},
        estimate, model_budgets, raised,
    },
};

/// What an admitted call will ask for; nothing where nobody counts it.
pub(super) struct Limited(Option<(Limits, Box<Ask>, Settings)>);

/// Of a call to `group` with these fields. Pure.
pub(super) fn limited(
    call: &Call,
    group: &ModelGroup,
    fields: &Object<'_>,
    (named, standings): (&Named, &Standings),
) -> Result<Limited, Decline> {
    let (snapshot, identity) = (&call.snapshot, identity(&call.caller));
    let end_user = match &standings.end_user {
        Standing::Unrestricted => None,
        Standing::Restricted(user) if !user.special => Some(user),
        Standing::Restricted(_) | Standing::Unreadable => return Err(needs_python("end user")),
    };
    if standings.unreadable_tag {
        return Err(needs_python("tag"));
    }
    let keeps_books = snapshot.database_url.is_some() && !snapshot.settings.other_books;
    if !keeps_books {
        let free = end_user.is_none() && standings.tags.is_empty();
        return if free { Ok(Limited(None)) } else { Err(needs_python("books of an end user or a tag")) };
    }
    let rates = |row: &NamedRow| Rates { rpm: row.rpm_limit, tpm: row.tpm_limit };
    let entity = |row: &NamedRow| Entity { id: row.id.clone(), spend: row.spend, max_budget: row.max_budget };
    let limited = |tag: &&Arc<NamedRow>| tag.rpm_limit.is_some() || tag.tpm_limit.is_some();
    let tag_rates: Vec<_> = standings.tags.iter().filter(limited).map(|row| (row.id.clone(), rates(row))).collect();
    let budgeted = named.tags.budgeted.iter().filter_map(|tag| standings.tags.iter().find(|row| row.id == *tag));
    let tags: Vec<Entity> = budgeted.map(|row| entity(row)).collect();
    let of_end_user = end_user.map(|user| entity(user));
    let id = named.end_user.as_deref();
    let subject = Subject {
        identity,
        model: Some(&group.name),
        group: Some(&group.name),
        end_user: id.map(|id| (id, end_user.map(|user| rates(user)).unwrap_or_default())),
        tags: &named.tags.rated,
        tag_rates: &tag_rates,
        ..Subject::default()
    };
    if let Some(feature) = descriptors::unsupported(&subject) {
        return Err(needs_python(feature));
    }
    let mut settings = Settings::default();
    settings.clock.spend_ttl = snapshot.settings.counter_ttl.unwrap_or(settings.clock.spend_ttl);
    let now = call.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let models = identity.map(|identity| model_budgets::of(identity, &group.name, now)).transpose();
    let windows = identity.map(|identity| budget_windows::of(identity, now)).transpose();
    let raised = identity.map(|identity| raised::of(identity, now)).transpose().map_err(needs_python)?;
    let others = Others {
        end_user: of_end_user.as_ref(),
        tags: &tags,
        models: models.map_err(needs_python)?.unwrap_or_default(),
        raised: raised.unwrap_or_default(),
        windows: windows.map_err(needs_python)?.unwrap_or_default(),
        ..Others::default()
    };
    let budgets = Budgets::of(identity, &others);
    let cost = match budgets.counters.is_empty() {
        true => 0.0,
        false => highest_cost(group, fields)?,
    };
    let mut payers = budgets::payers(identity, id, &settle::tags(&call.head, &named.tags.billed));
    payers.extend(budgets.windows.iter().map(|(_, window)| window.counter.clone()));
    let ask = Ask::new(&subject, (estimate::Kind::Messages, fields), (budgets, cost), payers, &settings);
    let shared = matches!(snapshot.coordination, Coordination::Redis(_));
    let counts = !ask.is_free() || ask.is_metered();
    if counts && !shared {
        // one Python gateway alone holds a limit exactly; two that do not share it would let twice as much through
        return Err(needs_python("a limit without redis"));
    }
    if counts && snapshot.settings.other_limits {
        return Err(needs_python("a setting of limits"));
    }
    let limits = call.services.control.limits(snapshot).filter(|_| shared);
    Ok(Limited(limits.map(|limits| (limits, Box::new(ask), settings))))
}

/// US dollars, by the dearest deployment (router.py `_set_model_group_info`); 0.0: no price is known.
fn highest_cost(group: &ModelGroup, fields: &Object<'_>) -> Result<f64, Decline> {
    let prices: Vec<_> = group.deployments.iter().filter_map(|deployment| deployment.pricing.as_ref()).collect();
    let ceilings = group
        .deployments
        .iter()
        .filter_map(|d| d.base_info.as_ref().unwrap_or(&d.model_info).get("max_output_tokens")?.as_f64());
    let rates = estimate::Rates {
        input: prices.iter().map(|pricing| pricing.input).fold(0.0, f64::max),
        output: prices.iter().map(|pricing| pricing.output).fold(0.0, f64::max),
        ceiling: ceilings.map(|tokens| tokens as i64).max(),
    };
    if !prices.is_empty() && rates.input <= 0.0 && rates.output <= 0.0 {
        // LiteLLM compares no budget where prices of 0 were meant
        return Err(needs_python("budgets and a model that costs nothing"));
    }
    Ok(estimate::highest_cost(fields, input_tokens(fields), rates))
}

/// About how many tokens the prompt has. LiteLLM counts them; what a call holds back while it runs is an estimate there too.
fn input_tokens(fields: &Object<'_>) -> i64 {
    let bytes = ["messages", "system", "tools"].iter().filter_map(|name| fields.some(name)).map(|raw| raw.text().len());
    (bytes.sum::<usize>() / 4) as i64
}

fn identity(caller: &Caller) -> Option<&crate::auth::Identity> {
    match caller {
        Caller::Key(identity) => Some(identity),
        _ => None,
    }
}

/// The feature stands in the log: the decline's name is the same for all.
fn needs_python(feature: &'static str) -> Decline {
    tracing::debug!(feature, "limits need python");
    Decline::KeyFeature
}

impl Limited {
    /// The body the call goes on with: LiteLLM caps the output of a caller whose token limit is small.
    pub(super) fn body<'a>(&self, fields: &Object<'_>, body: &'a [u8]) -> Cow<'a, [u8]> {
        let Some((name, value)) = self.0.as_ref().and_then(|(_, ask, _)| ask.cap) else { return Cow::Borrowed(body) };
        let mut out = ObjectWriter::with_capacity(body.len() + 32);
        fields.iter().filter(|(field, _)| *field != name).for_each(|(field, raw)| out.raw(field, raw.text()));
        out.raw(name, &value.to_string());
        Cow::Owned(out.finish())
    }

    /// Takes everything, or says why not. Waits for nobody where nothing limits the call.
    pub(super) async fn reserve(&mut self) -> Result<Option<Reservation>, Refusal> {
        match self.0.take() {
            Some((limits, ask, settings)) => limits.reserve(*ask, &settings).await.map(Some),
            None => Ok(None),
        }
    }
}
