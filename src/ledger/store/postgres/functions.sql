-- Each function is one transaction on the ledger. It reads and writes anew what it was handed, most of which needs
-- no lock; then it locks the row of the ledger's turn, so that whatever it reads after that is what the last
-- transaction left, and writes a line that no other can come between. Every row of a ledger is written by who
-- has that lock only: org, team and repository are locked at once, in one order, and a hold is taken from all
-- of its limits or from none.
--
-- The lock is kept for as long as the server computes, and no disk is waited for under it: where the server
-- can, the transaction is committed in memory, and the next one stands on it. Nobody is told before it is
-- durable: `durable` comes after every one of these functions, in a transaction of its own, and is answered
-- when all that was written before it is on disk, and on the standby that is waited for. A crash takes back
-- what nobody was told of, and whatever stood on it, because all of it is later in one log. Whatever is read to
-- be told is read in one transaction with `durable`, so that it waits as well.
--
-- Between a function and `durable` a pooler may lead to another process, of a server that has lost the first
-- transaction in the meantime. Both say where they ran, `session`; where that is not the same, the answer is not
-- believed, and the function is called again, in one transaction with `durable`.
--
-- What every run calls is PL/pgSQL, whose plans a connection keeps: a function in SQL that cannot become a part
-- of its caller is parsed and planned at each call.
--
-- Answers are JSON. What stands between `@` differs between servers, see `schema.rs`; the texts of lines are
-- in `shapes.sql`.

-- The ledger's time.
CREATE FUNCTION tollgate.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT clock_timestamp()
$$;

-- Which process of which start of the server this is. What one has told is taken back only after it has ended.
CREATE FUNCTION tollgate.session() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT @session@
$$;

-- Waits until everything that was committed before is durable, and says where it has.
CREATE FUNCTION tollgate.durable() RETURNS text LANGUAGE plpgsql VOLATILE @secure@ AS $$
BEGIN
    RETURN @durable@;
END
$$;

-- Limits with what is taken from their accounts, in their own order. An account that is not followed is
-- summed from the holds, unless its purse is new. `o_followed` says which it was.
CREATE FUNCTION tollgate.standing(
    p_ledger text, p_limits text,
    OUT o_n integer, OUT o_purse text, OUT o_start timestamptz, OUT o_end timestamptz,
    OUT o_settled numeric, OUT o_held numeric, OUT o_followed boolean, OUT o_limit text
) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT l.o_n, l.o_purse, l.o_start, l.o_end,
        CASE WHEN a.settled IS NOT NULL THEN a.settled
        WHEN EXISTS (SELECT 1 FROM tollgate.purse AS p WHERE p.ledger = p_ledger AND p.purse = l.o_purse)
        THEN coalesce((
            SELECT sum(h.charged) FROM tollgate.hold AS h
            WHERE h.ledger = p_ledger AND h.reserved >= l.o_start AND h.reserved < l.o_end
                AND l.o_purse = ANY (h.purses)
        ), 0)
        ELSE 0 END,
        CASE WHEN a.held IS NOT NULL THEN a.held
        WHEN EXISTS (SELECT 1 FROM tollgate.purse AS p WHERE p.ledger = p_ledger AND p.purse = l.o_purse)
        THEN coalesce((
            SELECT sum(h.cap) FROM tollgate.hold AS h
            WHERE h.ledger = p_ledger AND h.phase = 'held' AND h.reserved >= l.o_start
                AND h.reserved < l.o_end AND l.o_purse = ANY (h.purses)
        ), 0)
        ELSE 0 END,
        a.settled IS NOT NULL, l.o_limit
    FROM tollgate.limits(p_limits) AS l
    LEFT JOIN LATERAL (
        SELECT x.settled, x.held FROM tollgate.account AS x
        WHERE x.ledger = p_ledger AND x.purse = l.o_purse
            AND x.end_at = l.o_end AND x.start_at = l.o_start
        LIMIT 1
    ) AS a ON true
$$;

-- The balances of limits, as a JSON array of pairs.
CREATE FUNCTION tollgate.pairs(p_ledger text, p_limits text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_pairs text;
BEGIN
    SELECT string_agg(
        '["' || tollgate.usd(o_settled) || '","' || tollgate.usd(o_held) || '"]', ',' ORDER BY o_n
    ) INTO v_pairs
    FROM tollgate.standing(p_ledger, p_limits);
    RETURN '[' || coalesce(v_pairs, '') || ']';
END
$$;

CREATE FUNCTION tollgate.balances(p_ledger text, p_limits text) RETURNS text
LANGUAGE plpgsql STABLE @secure@ AS $$
BEGIN
    RETURN '{"status":"done","balances":' || tollgate.pairs(p_ledger, p_limits) || '}';
END
$$;

-- Waits for the ledger's turn.
CREATE FUNCTION tollgate.take_turn(p_ledger text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_set text;
    v_turn text;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION 'synchronous_commit is off' USING ERRCODE = 'TG001';
    END IF;
    v_set := set_config('lock_timeout', '10s', true) || @later@;
    SELECT ledger INTO v_turn FROM tollgate.turn WHERE ledger = p_ledger FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO tollgate.turn (ledger) VALUES (p_ledger) ON CONFLICT (ledger) DO NOTHING;
        SELECT ledger INTO v_turn FROM tollgate.turn WHERE ledger = p_ledger FOR UPDATE;
        INSERT INTO tollgate.head (ledger, seq, at, hash, live)
        VALUES (p_ledger, 0, '1970-01-01 00:00:00+00', repeat('0', 64), 0)
        ON CONFLICT (ledger) DO NOTHING;
    END IF;
    -- What is read from here on is read after the last transaction's end.
    RETURN true;
END
$$;

-- The time of the next event. Only once the turn is taken: a time from before the lock was waited for may lie
-- before the last event.
CREATE FUNCTION tollgate.next_time(p_last timestamptz) RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT greatest(tollgate.clock(), p_last + interval '1 microsecond')
$$;

-- A whole line.
CREATE FUNCTION tollgate.line(
    p_seq bigint, p_at timestamptz, p_kind text, p_hold text, p_body text, p_prev text
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_line text;
BEGIN
    v_line := '{"v":1,"seq":' || p_seq::text || ',"at":"' || tollgate.shown(p_at) || '","t":"' || p_kind
        || '","hold":' || tollgate.quoted(p_hold) || ',"body":' || p_body || ',"prev":"' || p_prev || '"';
    v_line := v_line || ',"sum":"' || substr(tollgate.sha256(v_line), 1, 16) || '"}';
    IF octet_length(v_line) > 65536 THEN
        RAISE EXCEPTION '%', octet_length(v_line) USING ERRCODE = 'TG002';
    END IF;
    RETURN v_line;
END
$$;

-- Appends an event that no money moves with.
CREATE FUNCTION tollgate.append(p_ledger text, p_kind text, p_hold text, p_body text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_line text;
BEGIN
    SELECT seq + 1, tollgate.next_time(at), hash INTO v_seq, v_at, v_prev
    FROM tollgate.head WHERE ledger = p_ledger;
    v_line := tollgate.line(v_seq, v_at, p_kind, p_hold, p_body, v_prev);
    INSERT INTO tollgate.event (ledger, seq, at, kind, hold, line)
    VALUES (p_ledger, v_seq, v_at, p_kind, p_hold, v_line);
    UPDATE tollgate.head SET seq = v_seq, at = v_at, hash = tollgate.sha256(v_line)
    WHERE ledger = p_ledger;
    RETURN true;
END
$$;

-- What hard limits leave, and the one that leaves the least as it stands in a line: nothing where none is hard.
CREATE FUNCTION tollgate.tightest(p_ledger text, p_limits text, OUT o_left numeric, OUT o_cut text)
RETURNS record LANGUAGE sql STABLE AS $$
    SELECT greatest(l.o_usd - s.o_settled - s.o_held, 0), '{"limit":' || (l.o_n - 1) || ',"settled":"'
        || tollgate.usd(s.o_settled) || '","held":"' || tollgate.usd(s.o_held) || '"}'
    FROM tollgate.limits(p_limits) AS l, tollgate.standing(p_ledger, p_limits) AS s
    WHERE s.o_n = l.o_n AND l.o_enforce = 'hard'
    ORDER BY 1, l.o_n LIMIT 1
$$;

-- Takes a hold from every limit, or from none.
CREATE FUNCTION tollgate.reserve(
    p_ledger text, p_hold text, p_claim text, p_want text, p_least text, p_expires text,
    p_purses text, p_limits text, p_about text, p_lift text
) RETURNS text LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_want numeric := tollgate.pico(p_want);
    v_least numeric := tollgate.pico(p_least);
    v_expires timestamptz := tollgate.instant(p_expires);
    v_about jsonb := p_about::jsonb;
    v_purses text[];
    v_fine boolean;
    v_turn boolean;
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_live integer;
    v_count bigint;
    v_named text;
    v_small numeric;
    v_left numeric;
    v_start timestamptz;
    v_end timestamptz;
    v_over boolean;
    v_lifted timestamptz;
    v_cap numeric;
    v_cut text := 'null';
    v_line text;
BEGIN
    -- Names in another order than they stand in would be written anew in that order.
    SELECT array_agg(o.name), '[' || string_agg(to_json(o.name)::text, ',') || ']' = p_purses
        AND count(*) <= 64 AND count(*) = count(DISTINCT o.name)
        AND min(octet_length(o.name)) >= 1 AND max(octet_length(o.name)) <= 512
        AND octet_length(p_hold) BETWEEN 1 AND 512 AND octet_length(p_claim) BETWEEN 1 AND 512
        AND v_least <= v_want AND v_expires IS NOT NULL AND tollgate.about_text(v_about) = p_about
    INTO v_purses, v_fine
    FROM jsonb_array_elements_text(p_purses::jsonb) AS o(name);
    IF v_fine IS NOT TRUE THEN
        RAISE EXCEPTION 'its terms are not as they stand in a line' USING ERRCODE = 'TG003';
    END IF;

    v_turn := tollgate.take_turn(p_ledger);
    SELECT h.seq + 1, tollgate.next_time(h.at), h.hash, h.live, s.n, s.fine, s.named, s.smallest, s.room, s.start_at,
        s.end_at, s.over
    INTO v_seq, v_at, v_prev, v_live, v_count, v_fine, v_named, v_small, v_left, v_start, v_end, v_over
    FROM tollgate.head AS h, (
        SELECT count(*) AS n, coalesce(bool_and(l.purse = ANY (v_purses)), true) AS fine,
            '[' || coalesce(string_agg(a.named, ','), '') || ']' AS named, min(l.usd) AS smallest,
            min(l.usd - a.settled - a.held) FILTER (WHERE l.enforce = 'hard') AS room,
            max(l.start_at) AS start_at, min(l.end_at) AS end_at,
            coalesce(bool_or(l.enforce = 'soft' AND a.settled >= l.usd), false) AS over
        FROM (
            SELECT o.v->>'purse' AS purse, o.v->>'enforce' AS enforce, (o.v->>'usd')::numeric * 1e12 AS usd,
                (o.v->'window'->>'start')::timestamptz AS start_at,
                coalesce((o.v->'window'->>'end')::timestamptz, tollgate.far()) AS end_at
            FROM jsonb_array_elements(p_limits::jsonb) AS o(v) OFFSET 0
        ) AS l
        LEFT JOIN LATERAL (
            SELECT x.settled, x.held, x.named FROM tollgate.account AS x
            WHERE x.ledger = p_ledger AND x.purse = l.purse AND x.end_at = l.end_at AND x.start_at = l.start_at
            LIMIT 1
        ) AS a ON true
    ) AS s
    WHERE h.ledger = p_ledger;
    -- Limits that their accounts are named by, word for word, were read when those were made.
    IF v_named IS DISTINCT FROM p_limits THEN
        SELECT '[' || coalesce(string_agg(l.o_limit, ',' ORDER BY l.o_n), '') || ']' = p_limits AND v_fine,
            coalesce(bool_or(l.o_enforce = 'soft' AND s.o_settled >= l.o_usd), false)
        INTO v_fine, v_over
        FROM tollgate.limits(p_limits) AS l, tollgate.standing(p_ledger, p_limits) AS s
        WHERE s.o_n = l.o_n;
        SELECT o_left INTO v_left FROM tollgate.tightest(p_ledger, p_limits);
    END IF;
    IF p_lift IS NOT NULL THEN
        v_lifted := tollgate.instant(p_lift::jsonb->>'expires');
        v_fine := v_fine AND tollgate.lift_text(p_lift::jsonb) = p_lift
            AND coalesce(tollgate.pico(p_lift::jsonb->>'usd') <= v_small, true);
    END IF;
    IF v_fine IS NOT TRUE OR v_count > 64 OR (v_want = 0.0 AND v_count > 0) THEN
        RAISE EXCEPTION 'its terms are not as they stand in a line' USING ERRCODE = 'TG003';
    END IF;
    v_cap := least(v_want, v_left);
    IF v_at < v_start OR v_at >= v_end OR v_over OR v_live >= 1024 OR v_expires <= v_at OR v_lifted <= v_at
        OR v_left <= 0.0 OR v_cap < v_least
    THEN
        IF EXISTS (SELECT 1 FROM tollgate.hold WHERE ledger = p_ledger AND id = p_hold) THEN
            RETURN '{"status":"known"}';
        END IF;
        -- The client says which of them it was, by the same rules as every other ledger's.
        RETURN '{"status":"refused","at":"' || tollgate.shown(v_at) || '","full":'
            || CASE WHEN v_live >= 1024 THEN 'true' ELSE 'false' END
            || ',"balances":' || tollgate.pairs(p_ledger, p_limits) || '}';
    END IF;
    IF v_cap < v_want THEN
        SELECT o_cut INTO v_cut FROM tollgate.tightest(p_ledger, p_limits);
    END IF;
    IF v_named IS DISTINCT FROM p_limits THEN
        INSERT INTO tollgate.account (ledger, purse, end_at, start_at, settled, held, named)
        SELECT p_ledger, o_purse, o_end, o_start, o_settled, o_held, o_limit
        FROM tollgate.standing(p_ledger, p_limits) WHERE NOT o_followed
        ON CONFLICT DO NOTHING;
        UPDATE tollgate.account AS a SET named = s.o_limit
        FROM tollgate.standing(p_ledger, p_limits) AS s
        WHERE a.ledger = p_ledger AND a.purse = s.o_purse AND a.end_at = s.o_end AND a.start_at = s.o_start
            AND a.named <> s.o_limit;
    END IF;
    v_line := tollgate.line(
        v_seq, v_at, 'reserve', p_hold,
        '{"want":"' || p_want || '","least":"' || p_least || '","cap":"' || tollgate.usd(v_cap)
            || '","cut_by":' || v_cut || ',"expires":"' || p_expires || '","claim":' || to_json(p_claim)::text
            || ',"purses":' || p_purses || ',"limits":' || p_limits || ',"about":' || p_about
            || coalesce(',"lift":' || p_lift, '') || '}',
        v_prev
    );
    -- One statement. A key that is there already fails in it, and everything with it.
    WITH counted AS (
        UPDATE tollgate.account SET held = held + v_cap
        WHERE ledger = p_ledger AND purse = ANY (v_purses) AND end_at > v_at AND start_at <= v_at
    ), known AS (
        INSERT INTO tollgate.purse (ledger, purse) SELECT p_ledger, unnest(v_purses) ON CONFLICT DO NOTHING
    ), taken AS (
        INSERT INTO tollgate.hold (
            ledger, id, events, reserved, expires, phase, claim, cap, charged, spend, adjusted,
            purses, origin_json, limits_json
        ) VALUES (
            p_ledger, p_hold, ARRAY[v_seq], v_at, v_expires, 'held', p_claim, v_cap, 0, '', false,
            v_purses, '{"reserved":"' || tollgate.shown(v_at) || '","purses":' || p_purses || '}', p_limits
        )
    ), told AS (
        INSERT INTO tollgate.event (ledger, seq, at, kind, hold, line)
        VALUES (p_ledger, v_seq, v_at, 'reserve', p_hold, v_line)
    )
    UPDATE tollgate.head SET seq = v_seq, at = v_at, hash = tollgate.sha256(v_line), live = v_live + 1
    WHERE ledger = p_ledger;
    RETURN '{"status":"granted","cap":"' || tollgate.usd(v_cap) || '","cut_by":' || v_cut || '}';
END
$$;

-- Where a hold stands, as the answer to whoever has closed it.
CREATE FUNCTION tollgate.settlement(p_ledger text, p_hold text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_cap numeric;
    v_charged numeric;
    v_spend text;
    v_limits text;
BEGIN
    SELECT cap, charged, spend, limits_json INTO v_cap, v_charged, v_spend, v_limits
    FROM tollgate.hold WHERE ledger = p_ledger AND id = p_hold;
    RETURN '{"status":"done","cap":"' || tollgate.usd(v_cap) || '","charged":"' || tollgate.usd(v_charged)
        || '","spend":' || v_spend || ',"limits":' || v_limits
        || ',"balances":' || tollgate.pairs(p_ledger, v_limits) || '}';
END
$$;

-- Takes a step of a hold: closes it, or corrects what it is charged. The turn is taken.
CREATE FUNCTION tollgate.step(
    p_ledger text, p_hold text, p_kind text, p_phase text, p_spend text, p_now numeric, p_fields text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_reserved timestamptz;
    v_cap numeric;
    v_charged numeric;
    v_purses text[];
    v_of text;
    v_body text;
    v_line text;
    v_closes boolean := p_kind <> 'adjust';
BEGIN
    SELECT e.seq + 1, tollgate.next_time(e.at), e.hash, h.reserved, h.cap, h.charged, h.purses, h.origin_json
    INTO v_seq, v_at, v_prev, v_reserved, v_cap, v_charged, v_purses, v_of
    FROM tollgate.head AS e, tollgate.hold AS h
    WHERE e.ledger = p_ledger AND h.ledger = p_ledger AND h.id = p_hold;
    v_of := ',"of":' || v_of;
    v_body := CASE p_kind
        WHEN 'settle' THEN '{"spend":' || p_spend || ',"overrun":'
            || CASE WHEN p_now > v_cap THEN 'true' ELSE 'false' END || v_of || p_fields
        WHEN 'void' THEN '{' || p_fields || v_of
        WHEN 'expire' THEN '{"spend":' || p_spend || p_fields || v_of
        ELSE '{"spend":' || p_spend || ',"delta":"'
            || CASE WHEN p_now < v_charged THEN '-' ELSE '' END || tollgate.usd(abs(p_now - v_charged))
            || '"' || p_fields || v_of
    END || '}';
    v_line := tollgate.line(v_seq, v_at, p_kind, p_hold, v_body, v_prev);
    WITH stepped AS (
        UPDATE tollgate.hold
        SET phase = p_phase, charged = p_now, spend = p_spend, adjusted = adjusted OR NOT v_closes,
            events = events || v_seq
        WHERE ledger = p_ledger AND id = p_hold
    ), counted AS (
        UPDATE tollgate.account
        SET settled = settled + p_now - v_charged, held = held - CASE WHEN v_closes THEN v_cap ELSE 0 END
        WHERE ledger = p_ledger AND purse = ANY (v_purses) AND end_at > v_reserved AND start_at <= v_reserved
    ), told AS (
        INSERT INTO tollgate.event (ledger, seq, at, kind, hold, line)
        VALUES (p_ledger, v_seq, v_at, p_kind, p_hold, v_line)
    )
    UPDATE tollgate.head
    SET seq = v_seq, at = v_at, hash = tollgate.sha256(v_line), live = live - CASE WHEN v_closes THEN 1 ELSE 0 END
    WHERE ledger = p_ledger;
    RETURN tollgate.settlement(p_ledger, p_hold);
END
$$;

-- Closes a hold as `p_kind` says, or says where it stands. A close that is there already is answered
-- as it was. Late spend of a hold that was expired or voided is a correction, unless a person has made one.
-- With `p_seen`, a correction is of what nobody settled or corrected, and is charged just that. Where spend
-- is compared, blanks and the order of fields do not count: another version may have written the same otherwise.
CREATE FUNCTION tollgate.close(
    p_ledger text, p_hold text, p_kind text, p_phase text, p_spend text, p_fields text, p_over boolean,
    p_seen text DEFAULT NULL
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now numeric := CASE WHEN p_spend IS NOT NULL THEN tollgate.spent(p_spend) END;
    v_turn boolean := tollgate.take_turn(p_ledger);
    v_at timestamptz;
    v_phase text;
    v_cap numeric;
    v_expires timestamptz;
    v_spend text;
    v_adjusted boolean;
BEGIN
    SELECT tollgate.next_time(e.at), h.phase, h.cap, h.expires, h.spend, h.adjusted
    INTO v_at, v_phase, v_cap, v_expires, v_spend, v_adjusted
    FROM tollgate.hold AS h, tollgate.head AS e
    WHERE h.ledger = p_ledger AND h.id = p_hold AND e.ledger = p_ledger;
    IF NOT FOUND THEN
        RETURN '{"status":"unknown"}';
    END IF;
    IF p_over AND (v_phase <> 'held' OR v_at <= v_expires + interval '60 seconds') THEN
        RETURN '{"status":"kept"}';
    END IF;
    IF v_phase = 'held' AND p_kind <> 'adjust' THEN
        RETURN tollgate.step(
            p_ledger, p_hold, p_kind, p_phase,
            coalesce(p_spend, '{"usd":"' || tollgate.usd(v_cap) || '","estimated":"' || tollgate.usd(v_cap)
                || '","models":[]}'),
            coalesce(v_now, v_cap), p_fields
        );
    END IF;
    IF v_phase <> 'held' AND (
        (p_kind IN ('settle', 'adjust') AND nullif(v_spend, '')::jsonb = p_spend::jsonb)
        OR (p_kind IN ('void', 'expire') AND v_phase = p_phase)
    ) THEN
        RETURN tollgate.settlement(p_ledger, p_hold);
    END IF;
    IF v_phase <> 'held' AND p_kind = 'adjust'
        AND (p_seen IS NULL OR (v_phase = 'expired' AND NOT v_adjusted
            AND nullif(v_spend, '')::jsonb = p_seen::jsonb))
    THEN
        RETURN tollgate.step(p_ledger, p_hold, 'adjust', v_phase, p_spend, v_now, p_fields);
    END IF;
    IF p_kind = 'settle' AND v_phase IN ('expired', 'voided') THEN
        -- What is a bound in full says nothing against the run.
        IF NOT v_adjusted OR (
            v_phase = 'expired' AND tollgate.pico(v_spend::jsonb->>'usd') > 0
            AND tollgate.pico(v_spend::jsonb->>'estimated') = tollgate.pico(v_spend::jsonb->>'usd')
        ) THEN
            RETURN tollgate.step(
                p_ledger, p_hold, 'adjust', v_phase, p_spend, v_now, ',"evidence":"the run settled late"'
            );
        END IF;
    END IF;
    RETURN '{"status":"otherwise"}';
END
$$;

CREATE FUNCTION tollgate.settle(p_ledger text, p_hold text, p_spend text, p_outcome text) RETURNS text
LANGUAGE plpgsql VOLATILE @secure@ AS $$
BEGIN
    RETURN tollgate.close(
        p_ledger, p_hold, 'settle', 'settled', p_spend,
        coalesce(',"outcome":' || tollgate.quoted(p_outcome), ''), false
    );
END
$$;

CREATE FUNCTION tollgate.void(p_ledger text, p_hold text, p_reason text) RETURNS text
LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(
        p_ledger, p_hold, 'void', 'voided', '{"usd":"0","estimated":"0","models":[]}',
        '"reason":' || tollgate.reason(p_reason), false
    )
$$;

-- Without spend, the whole hold is charged.
CREATE FUNCTION tollgate.expire(p_ledger text, p_hold text, p_spend text) RETURNS text
LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(
        p_ledger, p_hold, 'expire', 'expired', p_spend,
        CASE WHEN p_spend IS NULL THEN ',"proven":false' ELSE ',"proven":true' END, false
    )
$$;

-- Charges a hold whose lease is over for a minute, if it is.
CREATE FUNCTION tollgate.expire_over(p_ledger text, p_hold text) RETURNS text
LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(p_ledger, p_hold, 'expire', 'expired', NULL, ',"proven":false', true)
$$;

CREATE FUNCTION tollgate.adjust(p_ledger text, p_hold text, p_spend text, p_evidence text) RETURNS text
LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(
        p_ledger, p_hold, 'adjust', '', p_spend, ',"evidence":' || tollgate.reason(p_evidence), false
    )
$$;

CREATE FUNCTION tollgate.correct(
    p_ledger text, p_hold text, p_seen text, p_spend text, p_evidence text
) RETURNS text LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(
        p_ledger, p_hold, 'adjust', '', p_spend, ',"evidence":' || tollgate.reason(p_evidence), false,
        coalesce(p_seen, '{}')
    )
$$;

-- Raises the cap of a live hold towards `p_to`, as far as its hard limits have room.
CREATE FUNCTION tollgate.extend(p_ledger text, p_hold text, p_claim text, p_to text) RETURNS text
LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_to numeric := tollgate.pico(p_to);
    v_turn boolean := tollgate.take_turn(p_ledger);
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_phase text;
    v_claim text;
    v_cap numeric;
    v_new numeric;
    v_left numeric;
    v_reserved timestamptz;
    v_purses text[];
    v_of text;
    v_limits text;
    v_cut text := 'null';
    v_tight text;
    v_line text;
BEGIN
    SELECT e.seq + 1, tollgate.next_time(e.at), e.hash, h.phase, h.claim, h.cap, h.reserved, h.purses,
        h.origin_json, h.limits_json
    INTO v_seq, v_at, v_prev, v_phase, v_claim, v_cap, v_reserved, v_purses, v_of, v_limits
    FROM tollgate.head AS e, tollgate.hold AS h
    WHERE e.ledger = p_ledger AND h.ledger = p_ledger AND h.id = p_hold;
    IF NOT FOUND THEN
        RETURN '{"status":"unknown"}';
    END IF;
    IF v_to IS NULL THEN
        RAISE EXCEPTION 'not an amount' USING ERRCODE = 'TG003';
    END IF;
    IF v_phase <> 'held' OR v_claim <> p_claim THEN
        RETURN '{"status":"otherwise"}';
    END IF;
    IF v_to <= v_cap THEN
        RETURN '{"status":"granted","cap":"' || tollgate.usd(v_cap) || '","cut_by":null}';
    END IF;
    SELECT o_left, o_cut INTO v_left, v_tight FROM tollgate.tightest(p_ledger, v_limits);
    v_new := least(v_to, v_cap + coalesce(v_left, v_to));
    IF v_new <= v_cap THEN
        RETURN '{"status":"refused","at":"' || tollgate.shown(v_at) || '","limits":' || v_limits
            || ',"balances":' || tollgate.pairs(p_ledger, v_limits) || '}';
    END IF;
    IF v_new < v_to THEN
        v_cut := v_tight;
    END IF;
    v_line := tollgate.line(
        v_seq, v_at, 'extend', p_hold,
        '{"cap":"' || tollgate.usd(v_new) || '","cut_by":' || v_cut
            || ',"of":' || v_of || '}',
        v_prev
    );
    WITH stepped AS (
        UPDATE tollgate.hold SET cap = v_new, events = events || v_seq WHERE ledger = p_ledger AND id = p_hold
    ), counted AS (
        UPDATE tollgate.account SET held = held + v_new - v_cap
        WHERE ledger = p_ledger AND purse = ANY (v_purses) AND end_at > v_reserved AND start_at <= v_reserved
    ), told AS (
        INSERT INTO tollgate.event (ledger, seq, at, kind, hold, line)
        VALUES (p_ledger, v_seq, v_at, 'extend', p_hold, v_line)
    )
    UPDATE tollgate.head SET seq = v_seq, at = v_at, hash = tollgate.sha256(v_line) WHERE ledger = p_ledger;
    RETURN '{"status":"granted","cap":"' || tollgate.usd(v_new) || '","cut_by":' || v_cut
        || ',"limits":' || v_limits || '}';
END
$$;

-- Records a refusal: money takes no notice. `p_again` says that it may be there already, among the last.
CREATE FUNCTION tollgate.refuse(
    p_ledger text, p_hold text, p_body text, p_again boolean
) RETURNS text LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_done boolean;
BEGIN
    IF octet_length(p_hold) NOT BETWEEN 1 AND 512 OR tollgate.refusal_text(p_body) IS DISTINCT FROM p_body THEN
        RAISE EXCEPTION 'a refusal is not as it stands in a line' USING ERRCODE = 'TG003';
    END IF;
    v_done := tollgate.take_turn(p_ledger);
    IF NOT p_again OR NOT EXISTS (
        SELECT 1 FROM tollgate.event AS e
        WHERE e.ledger = p_ledger AND e.hold = p_hold AND e.kind = 'refuse'
            AND e.seq > (SELECT h.seq FROM tollgate.head AS h WHERE h.ledger = p_ledger) - 10000
    ) THEN
        v_done := tollgate.append(p_ledger, 'refuse', p_hold, p_body);
    END IF;
    RETURN '{"status":"done"}';
END
$$;

-- Puts something on record that is of no hold. For who looks after the ledger, not for a run. `p_again` says
-- that it may be there already: the same words for the same key, among the last.
CREATE FUNCTION tollgate.note(
    p_ledger text, p_key text, p_kind text, p_body text, p_again boolean
) RETURNS text LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_done boolean;
BEGIN
    IF p_kind NOT IN ('repair', 'bill') OR p_body::jsonb IS NULL OR position(chr(10) IN p_body) > 0 THEN
        RAISE EXCEPTION 'no note is a %', p_kind USING ERRCODE = 'TG003';
    END IF;
    v_done := tollgate.take_turn(p_ledger);
    IF NOT p_again OR NOT EXISTS (
        SELECT 1 FROM tollgate.event AS e
        WHERE e.ledger = p_ledger AND e.hold = p_key AND e.kind = p_kind
            AND position('"body":' || p_body || ',"prev":"' IN e.line) > 0
            AND e.seq > (SELECT h.seq FROM tollgate.head AS h WHERE h.ledger = p_ledger) - 10000
    ) THEN
        v_done := tollgate.append(p_ledger, p_kind, p_key, p_body);
    END IF;
    RETURN '{"status":"done"}';
END
$$;

-- The number of the first event at or after an instant: times grow with the numbers.
CREATE FUNCTION tollgate.first_since(p_ledger text, p_since timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE @secure@ AS $$
DECLARE
    v_low bigint := 1;
    v_high bigint := coalesce((SELECT seq + 1 FROM tollgate.head WHERE ledger = p_ledger), 1);
    v_middle bigint;
BEGIN
    WHILE v_low < v_high LOOP
        v_middle := (v_low + v_high) / 2;
        IF (SELECT at FROM tollgate.event WHERE ledger = p_ledger AND seq = v_middle) >= p_since THEN
            v_high := v_middle;
        ELSE
            v_low := v_middle + 1;
        END IF;
    END LOOP;
    RETURN v_low;
END
$$;
