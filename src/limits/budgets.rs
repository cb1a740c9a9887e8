//! Which budgets hold for a request, in which order they are compared and charged, and the words of a refusal. Pure.
//! Sources: auth_checks.py `common_checks`, user_api_key_auth.py `validate_resolved_virtual_key`,
//! budget_reservation.py `_get_budget_counters`.
use super::{
    BudgetWindow,
    model_budgets::{Gate, Meter, ModelBudgets},
    plan::{Charge, Check, Counter, Over, UNROWED},
    raised::Raised,
};
use crate::{
    auth::{
        Identity,
        record::{Budget, Key},
    },
    spend::{Spent, cost::python_float},
};

/// Spend and budget of something that is not in the key's rows: an end user, a tag.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    pub id: String,
    /// US dollars, the row's
    pub spend: f64,
    pub max_budget: Option<f64>,
}

/// What besides the key's rows counts.
#[derive(Debug, Clone, Default)]
pub struct Others<'a> {
    pub end_user: Option<&'a Entity>,
    /// tags of the request that have a row, in order, each once
    pub tags: &'a [Entity],
    /// `general_settings.apply_user_budget_to_team_keys`
    pub user_budget_on_team_keys: bool,
    /// of the model that is called
    pub models: ModelBudgets,
    /// for a while
    pub raised: Raised,
    /// of the key and its team
    pub windows: Vec<BudgetWindow>,
}

/// Who a check or charge is about, for messages.
#[derive(Debug, Clone, PartialEq)]
enum Whose {
    MemberEarly(String),
    Key(String),
    Project(String),
    Team(String),
    Organization(String),
    Tag(String),
    User(String),
    Member { user: String, team: String },
    EndUser(String),
    Model { entity: &'static str, id: String, words: String },
    Window(BudgetWindow),
}

/// All budgets of one request; `checks` and `charges` name counters by position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budgets {
    pub counters: Vec<Counter>,
    pub checks: Vec<Check>,
    pub charges: Vec<Charge>,
    /// what the finished call is added to besides
    pub meters: Vec<Meter>,
    /// with the position of its counter
    pub windows: Vec<(usize, BudgetWindow)>,
    whose_check: Vec<Whose>,
    whose_charge: Vec<(&'static str, String)>,
}

impl Budgets {
    /// The budgets of a request; the master key (`None`) has none of its own. A free model and a route that costs nothing
    /// have none: then use `Budgets::default()`, except that the key's own budget still holds on such routes.
    pub fn of(identity: Option<&Identity>, others: &Others<'_>) -> Self {
        let mut budgets = Self::default();
        match identity {
            Some(identity) => budgets.add(identity, others),
            None => {
                budgets.check_tags(others.tags);
                budgets.check_end_user(others.end_user);
                budgets.charge_end_user(others.end_user);
                budgets.charge_tags(others.tags);
            }
        }
        budgets
    }

    fn add(&mut self, identity: &Identity, others: &Others<'_>) {
        let budgets = self;
        let (key, team) = (&identity.key, identity.team.as_ref());
        let ids = (key.user_id.as_deref(), team.map(|team| team.team_id.as_str()));
        let member_key = |(user, team): (&str, &str)| format!("spend:team_member:{user}:{team}");
        let member = ids.0.zip(ids.1);
        let member_spend = identity.membership.as_ref().map_or(0.0, |membership| membership.spend);
        let raised = |max: Option<f64>, by: f64| max.map(|max| max + by);
        let own_member_max = raised(max_of(identity.member_budget.as_ref()), others.raised.member);
        let default_max = max_of(identity.default_member_budget.as_ref()).filter(|max| *max > 0.0);
        let member_max = own_member_max.or(raised(default_max, others.raised.member));
        let key_max = raised(key.max_budget.or_else(|| max_of(identity.budget.as_ref())), others.raised.key);
        let of_key = format!("spend:key:{}", key.token);

        if let (Some(ids), Some(max), true) =
            (member, own_member_max.filter(|max| *max > 0.0), identity.membership.is_some())
        {
            let whose = Whose::MemberEarly(format!("{}:{}", ids.0, ids.1));
            budgets.check(member_key(ids), member_spend, Over::AtLeast, max, whose);
        }
        if let Some(max) = key_max {
            budgets.check(of_key.clone(), key.spend, Over::AtLeast, max, Whose::Key(key_words(key)));
        }
        budgets.check_model(others.models.key.as_ref());
        budgets.check_model(others.models.user.as_ref());
        let project = identity.project.as_ref().zip(max_of(identity.project_budget.as_ref()));
        if let Some((project, max)) = project {
            let id = &project.project_id;
            let whose = Whose::Project(id.clone());
            budgets.check(format!("spend:project:{id}"), project.spend, Over::AtLeast, max, whose);
        }
        let team_max = team.zip(team.and_then(|team| team.max_budget));
        if let Some((team, max)) = team_max {
            let whose = Whose::Team(team.team_id.clone());
            budgets.check(format!("spend:team:{}", team.team_id), team.spend, Over::Above, max, whose);
        }
        for entity in ["team", "key"] {
            others
                .windows
                .iter()
                .filter(|window| window.entity == entity)
                .for_each(|window| budgets.check_window(window));
        }
        let organization = identity.organization.as_ref().zip(max_of(identity.organization_budget.as_ref()));
        if let Some((organization, max)) = organization {
            let id = &organization.organization_id;
            let whose = Whose::Organization(id.clone());
            budgets.check(format!("spend:org:{id}"), organization.spend, Over::AtLeast, max, whose);
        }
        budgets.check_tags(others.tags);
        let user = identity.user.as_ref().filter(|_| team.is_none() || others.user_budget_on_team_keys);
        let user_max = user.zip(user.and_then(|user| user.max_budget));
        if let Some((user, max)) = user_max {
            let whose = Whose::User(user.user_id.clone());
            budgets.check(format!("spend:user:{}", user.user_id), user.spend, Over::AtLeast, max, whose);
        }
        if let Some((ids, max)) = member.zip(member_max) {
            let whose = Whose::Member { user: ids.0.to_owned(), team: ids.1.to_owned() };
            budgets.check(member_key(ids), member_spend, Over::AtLeast, max, whose);
        }
        budgets.check_end_user(others.end_user);
        budgets.check_model(others.models.team.as_ref());
        budgets.meters.clone_from(&others.models.meters);

        // charged in another order than compared
        budgets.charge(&of_key, key_max, "Key", &key.token);
        budgets.charge_windows(&others.windows, ("key", "Key"));
        if let Some((team, max)) = team_max {
            budgets.charge(&format!("spend:team:{}", team.team_id), Some(max), "Team", &team.team_id);
        }
        budgets.charge_windows(&others.windows, ("team", "Team"));
        if let Some((user, max)) = user_max {
            budgets.charge(&format!("spend:user:{}", user.user_id), Some(max), "User", &user.user_id);
        }
        budgets.charge_end_user(others.end_user);
        budgets.charge_tags(others.tags);
        if let (Some(ids), Some(_)) = (member, &identity.user) {
            budgets.charge(&member_key(ids), member_max, "TeamMember", &format!("{}:{}", ids.0, ids.1));
        }
        if let Some((organization, max)) = organization {
            let id = &organization.organization_id;
            budgets.charge(&format!("spend:org:{id}"), Some(max), "Organization", id);
        }
        if let Some((project, max)) = project {
            let id = &project.project_id;
            budgets.charge(&format!("spend:project:{id}"), Some(max), "Project", id);
        }
    }

    fn check_tags(&mut self, tags: &[Entity]) {
        for (tag, max) in tags.iter().filter_map(|tag| Some((tag, tag.max_budget?))) {
            let whose = Whose::Tag(tag.id.clone());
            self.check(format!("spend:tag:{}", tag.id), tag.spend, Over::Above, max, whose);
        }
    }

    fn charge_tags(&mut self, tags: &[Entity]) {
        for tag in tags {
            self.charge(&format!("spend:tag:{}", tag.id), tag.max_budget, "Tag", &tag.id);
        }
    }

    fn check_end_user(&mut self, user: Option<&Entity>) {
        if let Some((user, max)) = user.and_then(|user| Some((user, user.max_budget?))) {
            let whose = Whose::EndUser(user.id.clone());
            self.check(format!("spend:end_user:{}", user.id), user.spend, Over::Above, max, whose);
        }
    }

    fn charge_end_user(&mut self, user: Option<&Entity>) {
        if let Some(user) = user {
            self.charge(&format!("spend:end_user:{}", user.id), user.max_budget, "EndUser", &user.id);
        }
    }

    fn counter(&mut self, key: String, known: f64) -> usize {
        let at = self.counters.iter().position(|counter| counter.key == key);
        at.unwrap_or_else(|| {
            self.counters.push(Counter { key, known });
            self.counters.len() - 1
        })
    }

    fn check(&mut self, key: String, known: f64, over: Over, max: f64, whose: Whose) {
        let counter = self.counter(key, known);
        self.checks.push(Check { counter, plus: None, over, max });
        self.whose_check.push(whose);
    }

    fn check_window(&mut self, window: &BudgetWindow) {
        self.check(window.counter.clone(), UNROWED, Over::AtLeast, window.max, Whose::Window(window.clone()));
        let counter = self.counter(window.counter.clone(), UNROWED);
        self.windows.push((counter, window.clone()));
    }

    fn charge_windows(&mut self, windows: &[BudgetWindow], (entity, kind): (&str, &'static str)) {
        for window in windows.iter().filter(|window| window.entity == entity) {
            self.charge(&window.counter, Some(window.max), kind, &format!("{}:{}", window.id, window.duration));
        }
    }

    fn check_model(&mut self, gate: Option<&Gate>) {
        let Some(gate) = gate else { return };
        let whose = Whose::Model { entity: gate.entity, id: gate.id.clone(), words: gate.words.clone() };
        let plus = gate.legacy.as_ref().map(|key| self.counter(key.clone(), UNROWED));
        self.check(gate.counter.clone(), UNROWED, Over::AtLeast, gate.max, whose);
        if let Some(check) = self.checks.last_mut() {
            check.plus = plus;
        }
    }

    /// Only budgets above zero are charged.
    fn charge(&mut self, key: &str, max: Option<f64>, kind: &'static str, id: &str) {
        let Some(max) = max.filter(|max| *max > 0.0) else { return };
        let counter = self.counter(key.to_owned(), 0.0);
        self.charges.push(Charge { counter, max, throttle: false });
        self.whose_charge.push((kind, id.to_owned()));
    }

    /// LiteLLM's words for a check that found `spend`.
    pub fn check_message(&self, check: usize, spend: f64) -> String {
        let max = python_float(self.checks.get(check).map_or(0.0, |check| check.max));
        let (found, spend) = (spend, python_float(spend));
        let exceeded =
            |whose: String| format!("Budget has been exceeded! {whose} Current cost: {spend}, Max budget: {max}");
        match self.whose_check.get(check) {
            Some(Whose::MemberEarly(id)) => exceeded(format!("TeamMember={id}")),
            Some(Whose::Key(words)) => exceeded(format!("Key={words}")),
            Some(Whose::Project(id)) => exceeded(format!("Project={id}")),
            Some(Whose::Team(id)) => exceeded(format!("Team={id}")),
            Some(Whose::Organization(id)) => exceeded(format!("Organization={id}")),
            Some(Whose::Tag(id)) => exceeded(format!("Tag={id}")),
            Some(Whose::Member { user, team }) => exceeded(format!("User={user} in Team={team}")),
            Some(Whose::User(id)) => format!("ExceededBudget: User={id} over budget. Spend={spend}, Budget={max}"),
            Some(Whose::EndUser(id)) => {
                format!("ExceededBudget: End User={id} over budget. Spend={spend}, Budget={max}")
            }
            Some(Whose::Model { words, .. }) => words.clone(),
            Some(Whose::Window(window)) => window.words(found),
            None => format!("Budget has been exceeded! Current cost: {spend}, Max budget: {max}"),
        }
    }

    /// Whether LiteLLM compares it with the owners' budgets (`common_checks`), not while it validates the key.
    pub fn is_late(&self, check: usize) -> bool {
        match self.whose_check.get(check) {
            Some(Whose::MemberEarly(_) | Whose::Key(_)) => false,
            Some(Whose::Model { entity, .. }) => *entity == "team",
            _ => true,
        }
    }

    /// Whose budget a check found spent.
    pub fn check_spent(&self, check: usize, spend: f64) -> Spent {
        let checked = self.checks.get(check);
        let counter = checked.and_then(|check| self.counters.get(check.counter)).map(|counter| counter.key.as_str());
        let (entity, id) = match self.whose_check.get(check) {
            Some(Whose::MemberEarly(id)) => ("team_member", id.clone()),
            Some(Whose::Key(_)) => ("key", counter.and_then(|key| key.strip_prefix("spend:key:")).unwrap_or("").into()),
            Some(Whose::Project(id)) => ("project", id.clone()),
            Some(Whose::Team(id)) => ("team", id.clone()),
            Some(Whose::Organization(id)) => ("organization", id.clone()),
            Some(Whose::Tag(id)) => ("tag", id.clone()),
            Some(Whose::Member { user, team }) => ("team_member", format!("{user}:{team}")),
            Some(Whose::User(id)) => ("user", id.clone()),
            Some(Whose::EndUser(id)) => ("end_user", id.clone()),
            Some(Whose::Model { entity, id, .. }) => (*entity, id.clone()),
            Some(Whose::Window(window)) => (window.entity, window.id.clone()),
            None => ("", String::new()),
        };
        Spent { entity, id, limit: checked.map_or(0.0, |check| check.max), spend }
    }

    /// Whose budget a charge found no room in.
    pub fn charge_spent(&self, charge: usize, spend: f64) -> Spent {
        const ENTITIES: &[(&str, &str)] = &[
            ("Key", "key"),
            ("Team", "team"),
            ("User", "user"),
            ("EndUser", "end_user"),
            ("Tag", "tag"),
            ("TeamMember", "team_member"),
            ("Organization", "organization"),
            ("Project", "project"),
        ];
        let (kind, id) = self.whose_charge.get(charge).map_or(("", ""), |(kind, id)| (*kind, id));
        let entity = ENTITIES.iter().find(|(known, _)| *known == kind).map_or("", |(_, entity)| entity);
        let counter = self.charges.get(charge).map(|charge| charge.counter);
        let window = self.windows.iter().find(|(at, _)| Some(*at) == counter);
        let id = window.map_or(id, |(_, window)| &window.id);
        Spent { entity, id: id.to_owned(), limit: self.charges.get(charge).map_or(0.0, |charge| charge.max), spend }
    }

    /// LiteLLM's words for a charge that found no room.
    pub fn charge_message(&self, charge: usize, spend: f64, cost: Option<f64>) -> String {
        let max = python_float(self.charges.get(charge).map_or(0.0, |charge| charge.max));
        let (kind, id) = self.whose_charge.get(charge).map_or(("", ""), |(kind, id)| (*kind, id));
        let cost = cost.map_or(String::new(), |cost| format!("Estimated request cost: {}, ", python_float(cost)));
        let spend = python_float(spend);
        format!("Budget has been exceeded! {kind}={id} Current cost: {spend}, {cost}Max budget: {max}")
    }
}

fn max_of(budget: Option<&Budget>) -> Option<f64> {
    budget?.max_budget
}

/// `<alias>[ (<key_name>)]`: the name only while it looks masked.
fn key_words(key: &Key) -> String {
    let label = key.key_alias.as_deref().filter(|alias| !alias.is_empty()).unwrap_or("key");
    let tail = key.key_name.as_deref().and_then(|name| name.strip_prefix("sk-..."));
    let masked = tail.filter(|tail| {
        tail.is_empty() || (tail.chars().count() == 4 && !tail.chars().any(|c| c.is_whitespace() || c.is_control()))
    });
    masked.map_or_else(|| label.to_owned(), |tail| format!("{label} (sk-...{tail})"))
}

/// The spend counters a finished call is added to, budget or not (proxy_server.py `increment_spend_counters`).
pub fn payers(identity: Option<&Identity>, end_user: Option<&str>, tags: &[String]) -> Vec<String> {
    let (token, user) = match identity {
        Some(identity) => (identity.key.token.as_str(), identity.key.user_id.as_deref()),
        None => ("litellm_proxy_master_key", Some("default_user_id")),
    };
    let team = identity.and_then(|identity| identity.key.team_id.as_deref());
    let of_team = || identity?.team.as_ref()?.organization_id.as_deref();
    let organization = identity.and_then(|identity| identity.key.organization_id.as_deref()).or_else(of_team);
    let project = identity.and_then(|identity| identity.key.project_id.as_deref());
    let mut keys = vec![format!("spend:key:{token}")];
    keys.extend(team.map(|id| format!("spend:team:{id}")));
    keys.extend(team.zip(user).map(|(team, user)| format!("spend:team_member:{user}:{team}")));
    keys.extend(user.map(|id| format!("spend:user:{id}")));
    keys.extend(end_user.map(|id| format!("spend:end_user:{id}")));
    for tag in tags {
        let key = format!("spend:tag:{tag}");
        if !tag.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.extend(organization.map(|id| format!("spend:org:{id}")));
    keys.extend(project.map(|id| format!("spend:project:{id}")));
    keys
}
