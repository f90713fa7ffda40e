//! `[console]`: what is asked of the console's users, and the provider that vouches for them.

use std::path::PathBuf;

use serde::Deserialize;

/// `[console]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Console {
    /// Whether users must have a second factor; whoever has none is led to take one up, and reaches nothing else. It is
    /// not asked of those whom a provider vouches for: that is the provider's to do.
    pub require_totp: bool,
    /// Where users log in beside this console, by OpenID Connect.
    pub oidc: Option<Oidc>,
}

/// `[console.oidc]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oidc {
    /// The provider, as it calls itself; `/.well-known/openid-configuration` behind it is asked for everything else.
    /// `https://` anywhere, `http://` only on this machine.
    pub issuer: String,
    /// What the provider calls this console.
    pub client_id: String,
    /// File with the secret that the provider gave for it; relative to the data directory. None: a public client.
    pub client_secret_file: Option<PathBuf>,
    /// The console's address as browsers know it, without a path; the provider sends them back to `/login/oidc/back`
    /// there.
    pub console_url: String,
    /// What the page of the log-in calls the provider.
    #[serde(default = "single_sign_on")]
    pub name: String,
    /// What the provider is asked for beside `openid`.
    #[serde(default = "profile")]
    pub scopes: Vec<String>,
    /// The claim that a new user is named by.
    #[serde(default = "preferred_username")]
    pub name_claim: String,
    /// The claim with what decides about his role: one text or several. A dot leads into an object.
    #[serde(default = "groups")]
    pub role_claim: String,
    /// What in it stands for which role.
    pub roles: Roles,
    /// Certificates that the provider's is trusted by, instead of the system's, PEM; relative to the data directory.
    pub ca_file: Option<PathBuf>,
}

/// `[console.oidc.roles]`: of several that fit, the highest is given. Nobody gets in without one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Roles {
    /// Whoever has one of these may read.
    pub viewer: Vec<String>,
    /// These make an analyst.
    pub analyst: Vec<String>,
    /// These let somebody look after the policy.
    pub policy_admin: Vec<String>,
    /// And these after users.
    pub admin: Vec<String>,
}

fn single_sign_on() -> String {
    "single sign-on".into()
}

fn profile() -> Vec<String> {
    vec!["profile".into()]
}

fn preferred_username() -> String {
    "preferred_username".into()
}

fn groups() -> String {
    "groups".into()
}
