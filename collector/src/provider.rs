//! The provider that vouches for users of the console: OpenID Connect, by the code flow with PKCE
//! (<https://openid.net/specs/openid-connect-core-1_0.html>, RFC 7636, RFC 9700).
//!
//! What belongs to one log-in (`state`, `nonce`, the verifier of PKCE) is derived from one secret, which only the
//! browser's cookie holds, so that an answer is worth something in that browser alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError,
    Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, StandardErrorResponse, StandardTokenResponse, TokenResponse,
    UserInfoClaims,
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, Semaphore};

use crate::alert::text::line;
use crate::config::{self, ConfigError, Oidc, is_this_machine, mistake};
use crate::store::{Person, UserRole};

mod web;

use web::Web;

/// Where the provider sends the browser back to.
pub(crate) const BACK: &str = "/login/oidc/back";
/// How long what the provider says of itself, and its keys, are believed.
const KEPT: Duration = Duration::from_secs(3600);
/// How often they are asked for because a signature is by a key that is not among them.
const ROTATED: Duration = Duration::from_secs(10);
/// How long a provider that could not be reached is left alone.
const AWAY: Duration = Duration::from_secs(5);
/// Browsers whose codes are being handed in at a time.
const AT_ONCE: usize = 16;
/// How long one of more waits.
const HELD_UP: Duration = Duration::from_secs(5);
/// Longest subject (OpenID Connect Core, 2: 255 ASCII characters).
const SUBJECT: usize = 255;
/// Longest words of the provider that are shown, in characters.
const SHOWN: usize = 200;
/// Signatures that only the provider's secret keys can make. One by the secret of the client is not among them: whoever
/// reads the client's files could make it, and `none` is nobody's.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Whatever else a provider says of somebody.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claims(Map<String, Value>);

impl AdditionalClaims for Claims {}

type Fields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Answer = StandardTokenResponse<Fields, CoreTokenType>;
type Described = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why the provider vouches for nobody.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// It cannot be reached, or its answers are not those of a provider. Only the journal is told of it in full.
    #[error("{0}")]
    Away(String),
    /// It refuses.
    #[error("it refuses: {0}")]
    Refuses(String),
    /// What it says of somebody cannot be trusted.
    #[error("what it says of the user cannot be trusted: {0}")]
    Untrusted(String),
    /// It says too little of somebody, or nothing that gives a role here.
    #[error("{0}")]
    Nobody(String),
}

/// The provider that `[console.oidc]` names.
pub(crate) struct Provider {
    pub(crate) name: String,
    issuer: IssuerUrl,
    client: (ClientId, Option<ClientSecret>),
    back: RedirectUrl,
    scopes: Vec<Scope>,
    name_claim: String,
    role_claim: String,
    roles: Vec<(UserRole, Vec<String>)>,
    web: Web,
    known: Mutex<Option<Known>>,
    handing_in: Semaphore,
}

/// What the provider said of itself, and when.
struct Known {
    since: Instant,
    said: Result<Arc<Described>, ProviderError>,
}

impl Provider {
    pub(crate) fn new(config: &Oidc, data: &Path) -> Result<Provider, ConfigError> {
        let wrong = |reason: String| mistake(data, format!("[console.oidc]: {reason}"));
        let issuer = address("issuer", &config.issuer).map_err(wrong)?;
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err(wrong(format!("issuer = {:?}: expected an address without ? and #", config.issuer)));
        }
        let console = address("console-url", &config.console_url).map_err(wrong)?;
        if console.path() != "/" || console.query().is_some() || console.fragment().is_some() {
            let expected = "expected the console's address alone, as https://vitrine.museum.example";
            return Err(wrong(format!("console-url = {:?}: {expected}", config.console_url)));
        }
        if config.client_id.is_empty() || line(&config.name, 40) != config.name || config.name.is_empty() {
            return Err(wrong("expected a client-id, and a name of 1 to 40 printable characters".into()));
        }
        let roles: Vec<_> = [
            (UserRole::Admin, &config.roles.admin),
            (UserRole::PolicyAdmin, &config.roles.policy_admin),
            (UserRole::Analyst, &config.roles.analyst),
            (UserRole::Viewer, &config.roles.viewer),
        ]
        .into_iter()
        .map(|(role, values)| (role, values.clone()))
        .collect();
        if roles.iter().all(|(_, values)| values.is_empty()) {
            let expected = "expected what in the claim stands for a role, as admin = [\"vitrine-admins\"]";
            return Err(wrong(format!("[console.oidc.roles] lets nobody in: {expected}")));
        }
        let secret = config.client_secret_file.as_deref().map(|file| config::secret(data, file, false)).transpose()?;
        let url = |error: openidconnect::url::ParseError| wrong(error.to_string());
        Ok(Provider {
            name: config.name.clone(),
            // As it is written: the provider's answers must hold the very same text.
            issuer: IssuerUrl::new(config.issuer.clone()).map_err(url)?,
            client: (ClientId::new(config.client_id.clone()), secret.map(ClientSecret::new)),
            back: RedirectUrl::new(format!("{}{BACK}", console.origin().ascii_serialization())).map_err(url)?,
            scopes: config.scopes.iter().cloned().map(Scope::new).collect(),
            name_claim: config.name_claim.clone(),
            role_claim: config.role_claim.clone(),
            roles,
            web: Web::new(config, &issuer, data)?,
            known: Mutex::new(None),
            handing_in: Semaphore::new(AT_ONCE),
        })
    }

    /// Where a browser goes that holds this secret.
    pub(crate) async fn address(&self, secret: &str) -> Result<Url, ProviderError> {
        let described = self.described(KEPT).await?;
        let (state, nonce) = (derived("state", secret), derived("nonce", secret));
        let request = described
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                || CsrfToken::new(state),
                || Nonce::new(nonce),
            )
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier(secret)));
        Ok(request.url().0)
    }

    /// Whether an answer is for the browser that holds this secret, and of this provider (RFC 9207).
    pub(crate) fn is_for(&self, secret: &str, state: &str, issuer: Option<&str>) -> bool {
        let expected = derived("state", secret);
        bool::from(expected.as_bytes().ct_eq(state.as_bytes())) && issuer.is_none_or(|found| found == *self.issuer)
    }

    /// Hands a code in for what the provider says of the person who was there, and checks it.
    pub(crate) async fn person(&self, secret: &str, code: String) -> Result<Person, ProviderError> {
        let busy = |_| ProviderError::Away("too many log-ins at once".into());
        // Whoever comes with made-up codes holds others up, and does not shut them out.
        let permit = tokio::time::timeout(HELD_UP, self.handing_in.acquire()).await.map_err(busy)?;
        let _permit = permit.map_err(|_| ProviderError::Away("the collector is being stopped".into()))?;
        let described = self.described(KEPT).await?;
        let answer = described
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| ProviderError::Away(format!("the provider has no token endpoint: {error}")))?
            .set_pkce_verifier(verifier(secret))
            .request_async(&self.web)
            .await
            .map_err(refusal)?;
        let nonce = Nonce::new(derived("nonce", secret));
        let claims = match self.check(&described, &answer, &nonce) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_),
            )) => {
                // The provider may have another key than an hour ago.
                let described = self.described(ROTATED).await?;
                self.check(&described, &answer, &nonce)
            }
            checked => checked,
        };
        let (subject, said) = claims.map_err(|error| ProviderError::Untrusted(told(&error)))?;
        let more = self.ask_more(&described, &answer, &subject, &said).await?;
        self.judge(subject, &[said, more])
    }

    /// Checks the ID token; gives whom it is of, and all that it says.
    fn check(
        &self,
        described: &Described,
        answer: &Answer,
        nonce: &Nonce,
    ) -> Result<(String, Value), ClaimsVerificationError> {
        let other = |why: &str| ClaimsVerificationError::Other(why.into());
        let token = answer.id_token().ok_or_else(|| other("there is no ID token"))?;
        let verifier = described.id_token_verifier().set_allowed_algs(SIGNATURES);
        let claims = token.claims(&verifier, nonce)?;
        if let Some(expected) = claims.access_token_hash() {
            let wrong = ClaimsVerificationError::SignatureVerification;
            let (by, key) = (token.signing_alg().map_err(wrong)?, token.signing_key(&verifier).map_err(wrong)?);
            if !AccessTokenHash::from_token(answer.access_token(), by, key).is_ok_and(|hash| hash == *expected) {
                return Err(other("the access token belongs to another ID token"));
            }
        }
        let subject = claims.subject().to_string();
        if subject.is_empty() || subject.len() > SUBJECT {
            return Err(other("the subject is empty, or longer than 255 bytes"));
        }
        Ok((subject, serde_json::to_value(claims).unwrap_or_default()))
    }

    /// Asks at the userinfo endpoint, where there is one, for what the ID token does not say.
    async fn ask_more(
        &self,
        described: &Described,
        answer: &Answer,
        subject: &str,
        said: &Value,
    ) -> Result<Value, ProviderError> {
        let is_said = |name: &str| claim(said, name).is_some();
        // A header cannot hold everything that JSON can.
        let token = answer.access_token();
        let is_sendable = token.secret().bytes().all(|byte| byte.is_ascii_graphic());
        if described.user_info_url().is_none()
            || (is_said(&self.name_claim) && is_said(&self.role_claim))
            || !is_sendable
        {
            return Ok(Value::Null);
        }
        let subject = openidconnect::SubjectIdentifier::new(subject.to_owned());
        let request = described
            .user_info(token.clone(), Some(subject))
            .map_err(|error| ProviderError::Away(error.to_string()))?;
        let more: UserInfoClaims<Claims, CoreGenderClaim> =
            request.request_async(&self.web).await.map_err(|error| match error {
                openidconnect::UserInfoError::ClaimsVerification(error) => ProviderError::Untrusted(told(&error)),
                other => ProviderError::Away(crate::sink::said(&other)),
            })?;
        Ok(serde_json::to_value(more).unwrap_or_default())
    }

    /// Who that is here, by the first of what was said that tells it.
    fn judge(&self, subject: String, said: &[Value]) -> Result<Person, ProviderError> {
        let find = |name: &str| said.iter().find_map(|said| claim(said, name));
        let name = find(&self.name_claim).and_then(Value::as_str).filter(|name| crate::console::users::is_name(name));
        let Some(name) = name else {
            let expected = "expected 1 to 64 printable characters";
            return Err(ProviderError::Nobody(format!(
                "the provider gives no user name in the claim {}: {expected}",
                self.name_claim
            )));
        };
        let has: Vec<&str> = match find(&self.role_claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let role = self.roles.iter().find(|(_, values)| values.iter().any(|value| has.contains(&value.as_str())));
        let Some((role, _)) = role else {
            return Err(ProviderError::Nobody(format!(
                "{name} has no role in this console by the claim {}: an admin of the provider gives one",
                self.role_claim
            )));
        };
        Ok(Person { issuer: self.issuer.to_string(), subject, name: name.to_owned(), role: *role })
    }

    /// The provider as it describes itself, asked anew if what is known is older than that.
    async fn described(&self, age: Duration) -> Result<Arc<Described>, ProviderError> {
        let mut known = self.known.lock().await;
        if let Some(known) = &*known
            && known.since.elapsed() < if known.said.is_ok() { age } else { AWAY }
        {
            return known.said.clone();
        }
        let said = self.describe().await.map(Arc::new);
        *known = Some(Known { since: Instant::now(), said: said.clone() });
        said
    }

    async fn describe(&self) -> Result<Described, ProviderError> {
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.web).await.map_err(|error| {
            let said = line(&crate::sink::said(&error), SHOWN);
            ProviderError::Away(format!("{} does not describe itself: {said}", *self.issuer))
        })?;
        web::check(found.authorization_endpoint().url()).map_err(|error| ProviderError::Away(error.to_string()))?;
        let methods = found.token_endpoint_auth_methods_supported().cloned().unwrap_or_default();
        let by_body = methods.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic);
        let (id, secret) = self.client.clone();
        Ok(Client::from_provider_metadata(found, id, secret)
            .set_redirect_uri(self.back.clone())
            .set_auth_type(if by_body { AuthType::RequestBody } else { AuthType::BasicAuth }))
    }
}

/// An error that the provider sent the browser back with, in words that are safe to show.
pub(crate) fn answered(code: &str, description: Option<&str>) -> ProviderError {
    let is_code = (1..=40).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let code = if is_code { code } else { "an unknown error" };
    let more = description.map(|text| format!(" ({:?})", line(text, SHOWN))).unwrap_or_default();
    ProviderError::Refuses(format!("{code}{more}"))
}

/// An address that nobody on the way can read or change.
fn address(key: &str, text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{key} = {text:?}: {error}"))?;
    web::check(&url).map_err(|error| format!("{key} = {text:?}: {error}"))?;
    Ok(url)
}

/// What belongs to one log-in. Whoever knows one of these knows neither the secret nor the others.
fn derived(what: &str, secret: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("vitrine-collector 2026 log-in by a provider v1");
    hasher.update(what.as_bytes()).update(b" ").update(secret.as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn verifier(secret: &str) -> PkceCodeVerifier {
    PkceCodeVerifier::new(derived("verifier", secret))
}

/// A claim by its name, or where there is none of that name, by the names that its dots lead through.
fn claim<'v>(said: &'v Value, name: &str) -> Option<&'v Value> {
    said.get(name).or_else(|| name.split('.').try_fold(said, |said, name| said.get(name)))
}

fn refusal(error: RequestTokenError<web::WebError, StandardErrorResponse<CoreErrorResponseType>>) -> ProviderError {
    match error {
        RequestTokenError::ServerResponse(said) => {
            answered(said.error().as_ref(), said.error_description().map(String::as_str))
        }
        RequestTokenError::Parse(..) => ProviderError::Untrusted("its answer cannot be read".into()),
        other => ProviderError::Away(crate::sink::said(&other)),
    }
}

/// What is wrong with an ID token, in few words.
fn told(error: &ClaimsVerificationError) -> String {
    let what = match error {
        ClaimsVerificationError::Expired(_) => "it has expired; compare the clocks",
        ClaimsVerificationError::InvalidAudience(_) => "it is meant for another program",
        ClaimsVerificationError::InvalidIssuer(_) => "it names another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "it belongs to another log-in",
        ClaimsVerificationError::InvalidSubject(_) => "it is of another user",
        ClaimsVerificationError::SignatureVerification(_) => "it is not signed with a key of the provider",
        other => return line(&crate::sink::said(other), SHOWN),
    };
    what.into()
}
