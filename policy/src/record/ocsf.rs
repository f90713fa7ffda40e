//! How a record looks to OCSF: class, activity, and the attributes that other programs read.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Disposition, Event, MAX_BYTES, Notice, NoticeClass, OCSF, Process, Record, SHUTDOWN, STARTED, STOPPED, Transfer,
    VERSION, WireError, last_part,
};
use crate::decision::Verdict;

/// How the `vitrine` object lies in an OCSF event.
#[derive(Deserialize)]
struct Envelope {
    unmapped: Unmapped,
}

#[derive(Deserialize)]
struct Unmapped {
    vitrine: Record,
}

impl Record {
    /// The OCSF event, as it goes over the wire on one line.
    #[must_use]
    pub fn to_ocsf(&self) -> Value {
        let severity = self.event.severity();
        let (class, activity) = match &self.event {
            Event::Transfer(_) => (2006, 1),
            Event::Notice(notice) => match notice.class {
                NoticeClass::Lifecycle => match notice.code.as_str() {
                    STARTED => (6002, 3),
                    STOPPED | SHUTDOWN => (6002, 4),
                    _ => (6002, 99),
                },
                NoticeClass::Policy => (5002, 1),
                NoticeClass::Tamper => (2004, 1),
            },
        };
        let mut ocsf = json!({
            "class_uid": class,
            "category_uid": class / 1000,
            "activity_id": activity,
            "type_uid": class * 100 + activity,
            "severity_id": severity as u8,
            "time": self.time,
            "metadata": {
                "version": OCSF,
                "uid": self.id,
                "sequence": self.sequence,
                "profiles": ["host"],
                "product": {"name": "Vitrine", "vendor_name": "Vitrine", "version": self.host.agent_version},
            },
            "device": {"hostname": self.host.name, "uid": self.host.agent, "type_id": 2},
            "unmapped": {"vitrine": self},
        });
        match &self.event {
            Event::Transfer(transfer) => transfer.add_to(&mut ocsf, &self.id, self.time),
            Event::Notice(notice) => notice.add_to(&mut ocsf, self),
        }
        ocsf
    }

    /// Reads one line of the wire.
    ///
    /// # Errors
    /// The line is too long, is not a record, or one of another version.
    pub fn from_ocsf(line: &str) -> Result<Record, WireError> {
        if line.len() > MAX_BYTES {
            return Err(WireError::TooLong(line.len()));
        }
        let record = serde_json::from_str::<Envelope>(line)?.unmapped.vitrine;
        if record.version == VERSION { Ok(record) } else { Err(WireError::Version(record.version)) }
    }
}

impl Transfer {
    fn add_to(&self, ocsf: &mut Value, id: &str, time: i64) {
        let (action, disposition) = match self.disposition {
            Disposition::Allowed => (1, 1),
            Disposition::Blocked => (2, 2),
            Disposition::Quarantined => (2, 3),
            Disposition::Undone => (2, 99),
            Disposition::WouldBlock => (1, 17),
            Disposition::Failed => (1, 99),
        };
        ocsf["action_id"] = json!(action);
        ocsf["disposition_id"] = json!(disposition);
        ocsf["is_alert"] = json!(self.verdict != Verdict::Allow);
        ocsf["message"] = json!(self.explanation);
        ocsf["finding_info"] = json!({
            "uid": id,
            "title": self.title(),
            "desc": self.explanation,
            "created_time": time,
        });
        ocsf["metadata"]["profiles"] = json!(["security_control", "host"]);
        ocsf["policy"] = json!({"uid": self.policy, "name": "vitrine"});
        let mut file = json!({"path": self.file.path, "name": last_part(&self.file.path), "type_id": 1});
        if let Some(digest) = &self.file.digest {
            file["hashes"] = json!([{"algorithm_id": 99, "algorithm": "BLAKE3", "value": digest}]);
        }
        if let Some(bytes) = self.file.bytes {
            file["size"] = json!(bytes);
        }
        ocsf["file"] = file;
        if let Some(process) = self.processes.first() {
            let mut actor = json!({"process": process.to_ocsf()});
            if let Some(parent) = self.processes.get(1) {
                actor["process"]["parent_process"] = parent.to_ocsf();
            }
            if let Some(user) = &self.user {
                actor["user"] = json!({"uid": user.uid.to_string(), "name": user.name});
                if let Some(session) = user.session {
                    actor["session"] = json!({"uid": session.to_string()});
                }
            }
            ocsf["actor"] = actor;
        }
    }
}

impl Process {
    fn to_ocsf(&self) -> Value {
        json!({
            "pid": self.pid,
            "name": self.name,
            "cmd_line": self.command_line,
            "file": {"path": self.path, "name": last_part(&self.path), "type_id": 1},
        })
    }
}

impl Notice {
    fn add_to(&self, ocsf: &mut Value, record: &Record) {
        ocsf["message"] = json!(self.message);
        ocsf["count"] = json!(self.count);
        match self.class {
            NoticeClass::Lifecycle => {
                ocsf["activity_name"] = json!(self.code);
                ocsf["app"] =
                    json!({"name": "vitrine", "vendor_name": "Vitrine", "version": record.host.agent_version});
            }
            NoticeClass::Policy => {}
            NoticeClass::Tamper => {
                ocsf["finding_info"] = json!({"uid": record.id, "title": self.code, "desc": self.message});
            }
        }
    }
}
