-- How many transfers the policy of each workstation judged, minute by minute, by which rollouts halt.

CREATE TABLE judged (
    agent INTEGER NOT NULL REFERENCES agents (number),
    policy TEXT NOT NULL,
    minute INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    PRIMARY KEY (agent, policy, minute)
) WITHOUT ROWID;
CREATE INDEX judged_age ON judged (minute);
