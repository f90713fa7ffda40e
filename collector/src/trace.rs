//! Traces a picture that was found somewhere: which masters it was made from, and what is on record of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use serde::Serialize;
use vitrine_fingerprint::{Content, Inside, Kind, Measurement};
use vitrine_policy::record::Record;
use vitrine_worker::{MeasureFailed, MeasureLimits, measure};

use crate::alert::text::line;
use crate::console::object::Happened;
use crate::masters::{Holder, Masters, MastersError, Origin};
use crate::store::{Actor, Store, StoreError, object_key};

/// Masters that are told of one picture, the most certain first.
const MASTERS: usize = 20;
/// Transfers that are told of each, the latest first.
const TRANSFERS: usize = 20;
/// Of so many records about files of its name, the latest, those are chosen.
const RECORDS: u32 = 200;
/// Pictures inside the file that are traced, too.
const INSIDE: usize = 200;
/// Longest text, in characters.
const TEXT: usize = 1200;

/// Why a picture was not traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("{0}")]
    Measure(#[from] MeasureFailed),
    /// The masters cannot.
    #[error("{0}")]
    Masters(#[from] MastersError),
    /// Nor what is on record.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The program is ending.
    #[error("the collector is stopping")]
    Stopping,
}

/// What was found out about a picture.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// BLAKE3 of the file.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it is, in words.
    pub content: String,
    /// Why it was not seen whole.
    pub unseen: Option<String>,
    /// Pictures inside it that were traced, too, and those that were too many.
    pub inside: usize,
    /// How many more pictures there were.
    pub more_inside: u64,
    /// The masters, the most certain first.
    pub masters: Vec<Traced>,
    /// Masters beyond those.
    pub more_masters: usize,
    /// A small JPEG of it.
    #[serde(skip)]
    pub thumbnail: Option<Vec<u8>>,
}

/// A master that the picture was made from.
#[derive(Clone, Debug, Serialize)]
pub struct Traced {
    /// By what addresses of the console know it.
    pub key: String,
    /// The collection, as the policy names it.
    pub collection: String,
    /// Its path.
    pub path: String,
    /// The object that it shows.
    pub object: Option<String>,
    /// The workstations that have it.
    pub workstations: Vec<Workstation>,
    /// Where in the file it was found; none for the file itself.
    pub inside: Option<String>,
    /// How the picture came from it.
    pub kind: Kind,
    /// How certain that is: 1.0 is certain.
    pub score: f64,
    /// Length in the picture over length in the master.
    pub scale: f64,
    /// Share of its area that the picture shows.
    pub coverage: f64,
    /// Which part that is: the corners of a polygon, in shares of width and height.
    pub region: Vec<(f64, f64)>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What is on record of it on those workstations, the latest first.
    pub transfers: Vec<Happened>,
    /// Whether there is more.
    pub more_transfers: bool,
    /// As recent records of a file of the same name on other workstations.
    pub elsewhere: usize,
    /// A small JPEG of it.
    #[serde(skip)]
    pub thumbnail: Option<Vec<u8>>,
}

/// A workstation that has a master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workstation {
    /// The id of its agent.
    pub agent: String,
    /// Its name, where it was heard of.
    pub host: Option<String>,
}

/// Traces an open file. It is read in a process of its own; what is asked, and what was found, goes into the audit log
/// before it is told. `name` is how whoever asks calls the file.
///
/// # Errors
/// The file cannot be read, or what is known cannot.
pub async fn trace(
    store: &Store,
    masters: Arc<Masters>,
    limits: &MeasureLimits,
    by: Actor,
    file: File,
    name: &str,
) -> Result<Trace, TraceError> {
    let (mut inside, mut more_inside) = (Vec::new(), 0);
    let measured = measure(file, limits, &mut |found: Inside| {
        let Content::Picture(picture) = &found.measurement.content else { return };
        if found.path.is_empty() || !picture.fingerprint.is_recognisable() {
            return;
        }
        if inside.len() < INSIDE { inside.push(found) } else { more_inside += 1 }
    })
    .await;
    let whole = match measured {
        Ok(whole) => whole,
        Err(failed) => {
            store.record_trace(by, line(name, TEXT), format!("not read: {failed}")).await?;
            return Err(failed.into());
        }
    };
    let (whole, inside, found) = tokio::task::spawn_blocking(move || {
        search(&masters, &whole, &inside).map(|found| (whole, inside.len(), found))
    })
    .await
    .map_err(|_| TraceError::Stopping)??;
    let more_masters = found.len().saturating_sub(MASTERS);
    let mut traced = Vec::new();
    for one in found.into_iter().take(MASTERS) {
        traced.push(one.told(store).await?);
    }
    let trace = Trace {
        digest: whole.digest.to_string(),
        bytes: whole.bytes,
        content: whole.content.to_string(),
        unseen: whole.content.unseen(),
        inside,
        more_inside,
        masters: traced,
        more_masters,
        thumbnail: match whole.content {
            Content::Picture(picture) => Some(picture.thumbnail),
            _ => None,
        },
    };
    store.record_trace(by, trace.digest.clone(), trace.summary(name)).await?;
    Ok(trace)
}

impl Trace {
    fn summary(&self, name: &str) -> String {
        let masters: Vec<_> =
            self.masters.iter().map(|one| format!("{} ({:.2})", line(&one.path, 200), one.score)).collect();
        let found = if masters.is_empty() { "nothing found".to_owned() } else { masters.join(", ") };
        format!("{}: {found}", line(name, 200))
    }
}

/// A master that was found, before it is looked up what is on record of it.
struct Found {
    master: (String, String),
    object: Option<String>,
    agents: Vec<String>,
    inside: Option<String>,
    origin: Origin,
}

/// All masters of the file and of what is inside, each once, by its best match: that of the file itself, where it has
/// one, because a crop may carry a preview of all that it was cut from.
fn search(masters: &Masters, whole: &Measurement, inside: &[Inside]) -> Result<Vec<Found>, MastersError> {
    let best_first = |a: &Origin, b: &Origin| b.found.score.total_cmp(&a.found.score);
    let mut origins: Vec<(Option<String>, Origin)> = Vec::new();
    for one in inside {
        origins.extend(masters.origins(&one.measurement)?.into_iter().map(|origin| (Some(one.path.clone()), origin)));
    }
    // Stable: of those that are as certain, the order of the index stands.
    origins.sort_by(|(_, a), (_, b)| best_first(a, b));
    let whole = masters.origins(whole)?.into_iter().map(|origin| (None, origin));
    let origins = whole.chain(origins);
    let mut found: Vec<Found> = Vec::new();
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (inside, origin) in origins {
        for Holder { collection, path, object, agent } in &origin.holders {
            let master = (collection.clone(), path.clone());
            let at = *known.entry(master.clone()).or_insert_with(|| {
                let (found_match, thumbnail) = (origin.found.clone(), origin.thumbnail.clone());
                let origin = Origin { found: found_match, thumbnail, holders: Vec::new() };
                found.push(Found {
                    master,
                    object: object.clone(),
                    agents: Vec::new(),
                    inside: inside.clone(),
                    origin,
                });
                found.len() - 1
            });
            if let Some(one) = found.get_mut(at)
                && !one.agents.contains(agent)
            {
                one.agents.push(agent.clone());
            }
        }
    }
    found.sort_by(|a, b| best_first(&a.origin, &b.origin));
    Ok(found)
}

impl Found {
    async fn told(self, store: &Store) -> Result<Traced, StoreError> {
        let Found { master: (collection, path), object, agents, inside, origin } = self;
        let key = object_key(&collection, &path);
        let (mut transfers, mut more_transfers, mut elsewhere) = (Vec::new(), false, 0);
        if let Some((master, ..)) = store.object(key).await? {
            let holders = agents.clone();
            // On a workstation that is not known to have this master, a file of its name may be another one.
            let shown = move |record: &Record| holders.contains(&record.host.agent).then(|| Happened::new(record, key));
            let happened = store.happened(master.number, i64::MAX, RECORDS, shown).await?;
            let read = happened.len();
            let own: Vec<_> = happened.into_iter().filter_map(|(.., own)| own).collect();
            elsewhere = read - own.len();
            more_transfers = own.len() > TRANSFERS || read == RECORDS as usize;
            transfers = own.into_iter().take(TRANSFERS).flatten().collect();
        }
        let mut names = store.host_names(agents.clone()).await?;
        let workstations = agents.into_iter().map(|agent| Workstation { host: names.remove(&agent), agent }).collect();
        let Origin { found, thumbnail, .. } = origin;
        Ok(Traced {
            key: hex::encode(key),
            collection: line(&collection, TEXT),
            path: line(&path, TEXT),
            object: object.map(|object| line(&object, TEXT)),
            workstations,
            inside: inside.map(|inside| line(&inside, TEXT)),
            kind: found.kind,
            score: found.score,
            scale: found.scale,
            coverage: found.coverage,
            region: found.region,
            width: found.master.width,
            height: found.master.height,
            transfers,
            more_transfers,
            elsewhere,
            thumbnail,
        })
    }
}
