-- What is asked for often is found without a look through everything that was ever told or sent.

CREATE INDEX routed_worst ON routed (route, bundle, severity, told);
CREATE INDEX routed_lately ON routed (route, told, bundle) WHERE told IS NOT NULL;

DROP INDEX outbox_dead;
CREATE INDEX outbox_dead ON outbox (route) WHERE state = 'dead' AND occasion <> 'test';
-- It ends in the row's own number, by which the list is ordered.
CREATE INDEX outbox_state ON outbox (state);
