-- A token may enrol many workstations: whose it was that was laid aside.

ALTER TABLE dead_letters ADD COLUMN agent TEXT NOT NULL DEFAULT '';
CREATE INDEX dead_letters_agent ON dead_letters (agent, token, number);
