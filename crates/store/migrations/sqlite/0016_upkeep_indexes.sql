-- Who is due for a probe is asked several times a minute, and hardly anybody is: what is probed hourly, and the rest.
CREATE INDEX integrations_by_probe_often ON integrations (COALESCE(probed_at, connected_at))
    WHERE status IN ('connected', 'paused') AND (provider = 'messenger' OR status = 'paused');
CREATE INDEX integrations_by_probe_seldom ON integrations (COALESCE(probed_at, connected_at))
    WHERE status = 'connected' AND provider <> 'messenger';

-- How many connections are in each state, and which token ends first, is counted for each look at the metrics.
CREATE INDEX integrations_by_state ON integrations (provider, status, token_expires_at);
DROP INDEX integrations_by_expiry;
