-- A token may enrol many workstations: whose it was that was laid aside.

ALTER TABLE dead_letters ADD COLUMN agent TEXT NOT NULL DEFAULT '';
CREATE INDEX dead_letters_agent ON dead_letters (agent, token, number);
-- Each failed log-in forgets those of long ago.
CREATE INDEX login_failures_until ON login_failures (until);
