-- Each function is one transaction on the ledger. It locks the row of the ledger's turn first, so that
-- whatever it reads after that is what the last transaction left, and writes a line that no other can come
-- between. Every row of a ledger is written by who has that lock only: org, team and repository are locked
-- at once, in one order, and a hold is taken from all of its limits or from none.
--
-- Answers are JSON. `@secure@` and `@sha256@` differ between servers, see `schema.rs`.

-- The ledger's time.
CREATE FUNCTION tollgate.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT clock_timestamp()
$$;

CREATE FUNCTION tollgate.far() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT '9999-12-31 00:00:00+00'::timestamptz
$$;

-- An amount in a line to pico-dollars. What is no such amount is an error.
CREATE FUNCTION tollgate.pico(p_usd text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF p_usd IS NULL OR p_usd !~ '^[0-9]{1,24}([.][0-9]{1,12})?$' THEN
        RAISE EXCEPTION 'not an amount' USING ERRCODE = 'TG003';
    END IF;
    RETURN (p_usd::numeric * 1000000000000)::numeric(38, 0);
END
$$;

-- Pico-dollars as they stand in a line.
CREATE FUNCTION tollgate.usd(p_pico numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT rtrim(rtrim((p_pico * 0.000000000001)::text, '0'), '.')
$$;

-- An instant as it stands in a line.
CREATE FUNCTION tollgate.shown(p_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT rtrim(rtrim(to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.') || 'Z'
$$;

-- A text as it stands in a line. This and the next are stable as what they call is: else they are called
-- where they could be a part of the expression.
CREATE FUNCTION tollgate.quoted(p_text text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_json(p_text)::text
$$;

CREATE FUNCTION tollgate.sha256(p_text text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT @sha256@
$$;

-- Limits with what is taken from their accounts, in their own order. An account that is not followed is
-- summed from the holds, unless its purse is new. `o_followed` says which it was, `o_named` whether the
-- account is there and knows this limit as it is.
CREATE FUNCTION tollgate.standing(
    p_ledger text, p_limits jsonb,
    OUT o_n integer, OUT o_purse text, OUT o_enforce text, OUT o_usd numeric,
    OUT o_start timestamptz, OUT o_end timestamptz,
    OUT o_settled numeric, OUT o_held numeric, OUT o_followed boolean,
    OUT o_limit text, OUT o_named boolean
) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT l.n, l.purse, l.enforce, l.usd, l.start_at, l.end_at,
        CASE WHEN a.settled IS NOT NULL THEN a.settled
        WHEN EXISTS (SELECT 1 FROM tollgate.purse AS p WHERE p.ledger = p_ledger AND p.purse = l.purse)
        THEN coalesce((
            SELECT sum(h.charged) FROM tollgate.hold AS h
            WHERE h.ledger = p_ledger AND h.reserved >= l.start_at AND h.reserved < l.end_at
                AND l.purse = ANY (h.purses)
        ), 0)
        ELSE 0 END,
        CASE WHEN a.held IS NOT NULL THEN a.held
        WHEN EXISTS (SELECT 1 FROM tollgate.purse AS p WHERE p.ledger = p_ledger AND p.purse = l.purse)
        THEN coalesce((
            SELECT sum(h.cap) FROM tollgate.hold AS h
            WHERE h.ledger = p_ledger AND h.phase = 'held' AND h.reserved >= l.start_at
                AND h.reserved < l.end_at AND l.purse = ANY (h.purses)
        ), 0)
        ELSE 0 END,
        a.settled IS NOT NULL, l.limit_json, coalesce(a.named = l.limit_json, false)
    FROM (
        SELECT o.n::integer AS n, o.v::text AS limit_json, o.v->>'purse' AS purse, o.v->>'enforce' AS enforce,
            tollgate.pico(o.v->>'usd') AS usd,
            (o.v->'window'->>'start')::timestamptz AS start_at,
            coalesce((o.v->'window'->>'end')::timestamptz, tollgate.far()) AS end_at
        FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS o(v, n)
    ) AS l
    LEFT JOIN LATERAL (
        SELECT x.settled, x.held, x.named FROM tollgate.account AS x
        WHERE x.ledger = p_ledger AND x.purse = l.purse
            AND x.end_at = l.end_at AND x.start_at = l.start_at
        LIMIT 1
    ) AS a ON true
$$;

-- The balances of limits, as a JSON array of pairs.
CREATE FUNCTION tollgate.pairs(p_ledger text, p_limits text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        '[' || string_agg(
            '["' || tollgate.usd(o_settled) || '","' || tollgate.usd(o_held) || '"]', ',' ORDER BY o_n
        ) || ']',
        '[]'
    )
    FROM tollgate.standing(p_ledger, p_limits::jsonb)
$$;

CREATE FUNCTION tollgate.balances(p_ledger text, p_limits text) RETURNS text
LANGUAGE sql STABLE @secure@ AS $$
    SELECT '{"status":"done","balances":' || tollgate.pairs(p_ledger, p_limits) || '}'
$$;

-- Waits for the ledger's turn, and says what the next event is to be.
CREATE FUNCTION tollgate.take_head(
    p_ledger text, OUT o_seq bigint, OUT o_at timestamptz, OUT o_prev text, OUT o_live integer
) LANGUAGE plpgsql AS $$
DECLARE
    v_last timestamptz;
    v_set text;
    v_turn text;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION 'synchronous_commit is off' USING ERRCODE = 'TG001';
    END IF;
    v_set := set_config('lock_timeout', '10s', true);
    SELECT ledger INTO v_turn FROM tollgate.turn WHERE ledger = p_ledger FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO tollgate.turn (ledger) VALUES (p_ledger) ON CONFLICT (ledger) DO NOTHING;
        SELECT ledger INTO v_turn FROM tollgate.turn WHERE ledger = p_ledger FOR UPDATE;
        INSERT INTO tollgate.head (ledger, seq, at, hash, live)
        VALUES (p_ledger, 0, '1970-01-01 00:00:00+00', repeat('0', 64), 0)
        ON CONFLICT (ledger) DO NOTHING;
    END IF;
    -- What is read from here on is read after the last transaction's end.
    SELECT seq + 1, at, hash, live INTO o_seq, v_last, o_prev, o_live
    FROM tollgate.head WHERE ledger = p_ledger;
    -- Only now: a time from before the lock was waited for may lie before the last event.
    o_at := greatest(tollgate.clock(), v_last + interval '1 microsecond');
END
$$;

-- Appends a line; the turn is taken.
CREATE FUNCTION tollgate.append(
    p_ledger text, p_seq bigint, p_at timestamptz, p_prev text, p_live integer,
    p_kind text, p_hold text, p_body text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_line text;
BEGIN
    v_line := '{"v":1,"seq":' || p_seq || ',"at":"' || tollgate.shown(p_at) || '","t":"' || p_kind
        || '","hold":' || tollgate.quoted(p_hold) || ',"body":' || p_body || ',"prev":"' || p_prev || '"';
    v_line := v_line || ',"sum":"' || substr(tollgate.sha256(v_line), 1, 16) || '"}';
    IF octet_length(v_line) > 65536 THEN
        RAISE EXCEPTION '%', octet_length(v_line) USING ERRCODE = 'TG002';
    END IF;
    IF position(chr(10) IN v_line) > 0 OR p_body::jsonb IS NULL THEN
        RAISE EXCEPTION 'not one line of JSON' USING ERRCODE = 'TG003';
    END IF;
    INSERT INTO tollgate.event (ledger, seq, at, kind, hold, line)
    VALUES (p_ledger, p_seq, p_at, p_kind, p_hold, v_line);
    UPDATE tollgate.head SET seq = p_seq, at = p_at, hash = tollgate.sha256(v_line), live = p_live
    WHERE ledger = p_ledger;
END
$$;

-- The limit that cuts a cap, as it stands in a line.
CREATE FUNCTION tollgate.cut_by(p_ledger text, p_limits text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '{"limit":' || (o_n - 1) || ',"settled":"' || tollgate.usd(o_settled)
        || '","held":"' || tollgate.usd(o_held) || '"}'
    FROM tollgate.standing(p_ledger, p_limits::jsonb)
    WHERE o_enforce = 'hard'
    ORDER BY greatest(o_usd - o_settled - o_held, 0), o_n
    LIMIT 1
$$;

-- Takes a hold from every limit, or from none.
CREATE FUNCTION tollgate.reserve(
    p_ledger text, p_hold text, p_claim text, p_want text, p_least text, p_expires text,
    p_purses text, p_limits text, p_about text, p_lift text
) RETURNS text LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_live integer;
    v_purses text[] := ARRAY(SELECT jsonb_array_elements_text(p_purses::jsonb));
    v_want numeric := tollgate.pico(p_want);
    v_cap numeric;
    v_cut text;
    v_new integer;
    v_known integer;
    v_outside boolean;
    v_reached boolean;
    v_left numeric;
    v_answer text;
BEGIN
    SELECT o_seq, o_at, o_prev, o_live INTO v_seq, v_at, v_prev, v_live FROM tollgate.take_head(p_ledger);
    SELECT count(*) FILTER (WHERE NOT o_named),
        coalesce(bool_or(v_at < o_start OR v_at >= o_end), false),
        coalesce(bool_or(o_enforce = 'soft' AND o_settled >= o_usd), false),
        min(greatest(o_usd - o_settled - o_held, 0)) FILTER (WHERE o_enforce = 'hard')
    INTO v_new, v_outside, v_reached, v_left
    FROM tollgate.standing(p_ledger, p_limits::jsonb);
    v_cap := least(v_want, coalesce(v_left, v_want));
    IF v_outside OR v_reached OR v_live >= 1024
        OR (v_left IS NOT NULL AND (v_cap < tollgate.pico(p_least) OR v_cap <= 0))
        OR p_expires::timestamptz <= v_at OR (p_lift::jsonb->>'expires')::timestamptz <= v_at
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
        v_cut := tollgate.cut_by(p_ledger, p_limits);
    END IF;
    v_answer := '{"status":"granted","cap":"' || tollgate.usd(v_cap) || '","cut_by":' || coalesce(v_cut, 'null') || '}';
    IF v_new > 0 THEN
        INSERT INTO tollgate.account (ledger, purse, end_at, start_at, settled, held, named)
        SELECT p_ledger, o_purse, o_end, o_start, o_settled, o_held, o_limit
        FROM tollgate.standing(p_ledger, p_limits::jsonb) WHERE NOT o_followed
        ON CONFLICT DO NOTHING;
        UPDATE tollgate.account AS a SET named = s.o_limit
        FROM tollgate.standing(p_ledger, p_limits::jsonb) AS s
        WHERE NOT s.o_named AND a.ledger = p_ledger AND a.purse = s.o_purse
            AND a.end_at = s.o_end AND a.start_at = s.o_start;
    END IF;
    -- A key that is there already fails here, and everything with it.
    INSERT INTO tollgate.hold (
        ledger, id, events, reserved, expires, phase, claim, cap, charged, spend, adjusted,
        purses, purses_json, limits_json
    ) VALUES (
        p_ledger, p_hold, ARRAY[v_seq], v_at, p_expires::timestamptz, 'held', p_claim, v_cap, 0, '', false,
        v_purses, p_purses, p_limits
    );
    SELECT count(*) INTO v_known FROM tollgate.purse WHERE ledger = p_ledger AND purse = ANY (v_purses);
    IF v_known < cardinality(v_purses) THEN
        INSERT INTO tollgate.purse (ledger, purse) SELECT p_ledger, unnest(v_purses) ON CONFLICT DO NOTHING;
    END IF;
    UPDATE tollgate.account SET held = held + v_cap
    WHERE ledger = p_ledger AND purse = ANY (v_purses) AND end_at > v_at AND start_at <= v_at;
    PERFORM tollgate.append(
        p_ledger, v_seq, v_at, v_prev, v_live + 1, 'reserve', p_hold,
        '{"want":"' || p_want || '","least":"' || p_least || '","cap":"' || tollgate.usd(v_cap)
        || '","cut_by":' || coalesce(v_cut, 'null') || ',"expires":"' || p_expires
        || '","claim":' || tollgate.quoted(p_claim) || ',"purses":' || p_purses
        || ',"limits":' || p_limits || ',"about":' || p_about || coalesce(',"lift":' || p_lift, '') || '}'
    );
    RETURN v_answer;
END
$$;

-- Where a hold stands, as the answer to whoever has closed it.
CREATE FUNCTION tollgate.settlement(p_ledger text, p_hold text) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT '{"status":"done","cap":"' || tollgate.usd(cap) || '","charged":"' || tollgate.usd(charged)
        || '","spend":' || spend || ',"limits":' || limits_json
        || ',"balances":' || tollgate.pairs(p_ledger, limits_json) || '}'
    FROM tollgate.hold WHERE ledger = p_ledger AND id = p_hold
$$;

-- What was spent, in pico-dollars; an error where it is no spend.
CREATE FUNCTION tollgate.spent(p_spend text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_usd numeric := tollgate.pico(p_spend::jsonb->>'usd');
BEGIN
    IF tollgate.pico(p_spend::jsonb->>'estimated') > v_usd THEN
        RAISE EXCEPTION 'more is estimated than spent' USING ERRCODE = 'TG003';
    END IF;
    RETURN v_usd;
END
$$;

-- Takes a step of a hold: closes it, or corrects what it is charged.
CREATE FUNCTION tollgate.step(
    p_ledger text, p_hold text, p_seq bigint, p_at timestamptz, p_prev text, p_live integer,
    p_kind text, p_phase text, p_spend text, p_fields text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_reserved timestamptz;
    v_cap numeric;
    v_charged numeric;
    v_purses text[];
    v_of text;
    v_body text;
    v_now numeric := tollgate.spent(p_spend);
    v_adjusts boolean := p_kind = 'adjust';
BEGIN
    SELECT reserved, cap, charged, purses, purses_json INTO v_reserved, v_cap, v_charged, v_purses, v_of
    FROM tollgate.hold WHERE ledger = p_ledger AND id = p_hold;
    v_of := ',"of":{"reserved":"' || tollgate.shown(v_reserved) || '","purses":' || v_of || '}';
    v_body := CASE p_kind
        WHEN 'settle' THEN '{"spend":' || p_spend || ',"overrun":'
            || CASE WHEN v_now > v_cap THEN 'true' ELSE 'false' END || v_of || p_fields
        WHEN 'void' THEN '{' || p_fields || v_of
        WHEN 'expire' THEN '{"spend":' || p_spend || p_fields || v_of
        ELSE '{"spend":' || p_spend || ',"delta":"'
            || CASE WHEN v_now < v_charged THEN '-' ELSE '' END || tollgate.usd(abs(v_now - v_charged))
            || '"' || p_fields || v_of
    END || '}';
    UPDATE tollgate.hold
    SET phase = p_phase, charged = v_now, spend = p_spend, adjusted = adjusted OR v_adjusts,
        events = events || p_seq
    WHERE ledger = p_ledger AND id = p_hold;
    UPDATE tollgate.account
    SET settled = settled + v_now - v_charged, held = held - CASE WHEN v_adjusts THEN 0 ELSE v_cap END
    WHERE ledger = p_ledger AND purse = ANY (v_purses) AND end_at > v_reserved AND start_at <= v_reserved;
    PERFORM tollgate.append(
        p_ledger, p_seq, p_at, p_prev, p_live - CASE WHEN v_adjusts THEN 0 ELSE 1 END,
        p_kind, p_hold, v_body
    );
    RETURN tollgate.settlement(p_ledger, p_hold);
END
$$;

-- Closes a hold as `p_kind` says, or says where it stands. A close that is there already is answered
-- as it was. Late spend of a hold that was expired or voided is a correction, unless a person has made one.
CREATE FUNCTION tollgate.close(
    p_ledger text, p_hold text, p_kind text, p_phase text, p_spend text, p_fields text, p_over boolean
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_live integer;
    v_phase text;
    v_cap numeric;
    v_expires timestamptz;
    v_spend text;
    v_adjusted boolean;
BEGIN
    SELECT o_seq, o_at, o_prev, o_live INTO v_seq, v_at, v_prev, v_live FROM tollgate.take_head(p_ledger);
    SELECT phase, cap, expires, spend, adjusted INTO v_phase, v_cap, v_expires, v_spend, v_adjusted
    FROM tollgate.hold WHERE ledger = p_ledger AND id = p_hold;
    IF NOT FOUND THEN
        RETURN '{"status":"unknown"}';
    END IF;
    IF p_over AND (v_phase <> 'held' OR v_at <= v_expires + interval '60 seconds') THEN
        RETURN '{"status":"kept"}';
    END IF;
    IF v_phase = 'held' AND p_kind <> 'adjust' THEN
        RETURN tollgate.step(
            p_ledger, p_hold, v_seq, v_at, v_prev, v_live, p_kind, p_phase,
            coalesce(p_spend, '{"usd":"' || tollgate.usd(v_cap) || '","estimated":"' || tollgate.usd(v_cap)
                || '","models":[]}'),
            p_fields
        );
    END IF;
    IF v_phase <> 'held' AND (
        (p_kind IN ('settle', 'adjust') AND v_spend = p_spend)
        OR (p_kind IN ('void', 'expire') AND v_phase = p_phase)
    ) THEN
        RETURN tollgate.settlement(p_ledger, p_hold);
    END IF;
    IF v_phase <> 'held' AND p_kind = 'adjust' THEN
        RETURN tollgate.step(
            p_ledger, p_hold, v_seq, v_at, v_prev, v_live, 'adjust', v_phase, p_spend, p_fields
        );
    END IF;
    IF p_kind = 'settle' AND v_phase IN ('expired', 'voided') THEN
        -- What is a bound in full says nothing against the run.
        IF NOT v_adjusted OR (
            v_phase = 'expired' AND tollgate.pico(v_spend::jsonb->>'usd') > 0
            AND tollgate.pico(v_spend::jsonb->>'estimated') = tollgate.pico(v_spend::jsonb->>'usd')
        ) THEN
            RETURN tollgate.step(
                p_ledger, p_hold, v_seq, v_at, v_prev, v_live, 'adjust', v_phase, p_spend,
                ',"evidence":"the run settled late"'
            );
        END IF;
    END IF;
    RETURN '{"status":"otherwise"}';
END
$$;

CREATE FUNCTION tollgate.settle(p_ledger text, p_hold text, p_spend text, p_outcome text) RETURNS text
LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(
        p_ledger, p_hold, 'settle', 'settled', p_spend,
        coalesce(',"outcome":' || tollgate.quoted(p_outcome), ''), false
    )
$$;

CREATE FUNCTION tollgate.void(p_ledger text, p_hold text, p_reason text) RETURNS text
LANGUAGE sql VOLATILE @secure@ AS $$
    SELECT tollgate.close(
        p_ledger, p_hold, 'void', 'voided', '{"usd":"0","estimated":"0","models":[]}',
        '"reason":' || tollgate.quoted(p_reason), false
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
        p_ledger, p_hold, 'adjust', '', p_spend, ',"evidence":' || tollgate.quoted(p_evidence), false
    )
$$;

-- Raises the cap of a live hold towards `p_to`, as far as its hard limits have room.
CREATE FUNCTION tollgate.extend(p_ledger text, p_hold text, p_claim text, p_to text) RETURNS text
LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_live integer;
    v_to numeric := tollgate.pico(p_to);
    v_phase text;
    v_claim text;
    v_cap numeric;
    v_new numeric;
    v_left numeric;
    v_reserved timestamptz;
    v_purses text[];
    v_purses_json text;
    v_limits text;
    v_cut text;
BEGIN
    SELECT o_seq, o_at, o_prev, o_live INTO v_seq, v_at, v_prev, v_live FROM tollgate.take_head(p_ledger);
    SELECT phase, claim, cap, reserved, purses, purses_json, limits_json
    INTO v_phase, v_claim, v_cap, v_reserved, v_purses, v_purses_json, v_limits
    FROM tollgate.hold WHERE ledger = p_ledger AND id = p_hold;
    IF NOT FOUND THEN
        RETURN '{"status":"unknown"}';
    END IF;
    IF v_phase <> 'held' OR v_claim <> p_claim THEN
        RETURN '{"status":"otherwise"}';
    END IF;
    IF v_to <= v_cap THEN
        RETURN '{"status":"granted","cap":"' || tollgate.usd(v_cap) || '","cut_by":null}';
    END IF;
    SELECT min(greatest(o_usd - o_settled - o_held, 0)) FILTER (WHERE o_enforce = 'hard') INTO v_left
    FROM tollgate.standing(p_ledger, v_limits::jsonb);
    v_new := least(v_to, v_cap + coalesce(v_left, v_to));
    IF v_new <= v_cap THEN
        RETURN '{"status":"refused","at":"' || tollgate.shown(v_at) || '","limits":' || v_limits
            || ',"balances":' || tollgate.pairs(p_ledger, v_limits) || '}';
    END IF;
    IF v_new < v_to THEN
        v_cut := tollgate.cut_by(p_ledger, v_limits);
    END IF;
    UPDATE tollgate.hold SET cap = v_new, events = events || v_seq WHERE ledger = p_ledger AND id = p_hold;
    UPDATE tollgate.account SET held = held + v_new - v_cap
    WHERE ledger = p_ledger AND purse = ANY (v_purses) AND end_at > v_reserved AND start_at <= v_reserved;
    PERFORM tollgate.append(
        p_ledger, v_seq, v_at, v_prev, v_live, 'extend', p_hold,
        '{"cap":"' || tollgate.usd(v_new) || '","cut_by":' || coalesce(v_cut, 'null')
        || ',"of":{"reserved":"' || tollgate.shown(v_reserved) || '","purses":' || v_purses_json || '}}'
    );
    RETURN '{"status":"granted","cap":"' || tollgate.usd(v_new) || '","cut_by":' || coalesce(v_cut, 'null')
        || ',"limits":' || v_limits || '}';
END
$$;

-- Records a refusal: money takes no notice. `p_again` says that it may be there already, among the last.
CREATE FUNCTION tollgate.refuse(
    p_ledger text, p_hold text, p_body text, p_again boolean
) RETURNS text LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_live integer;
BEGIN
    SELECT o_seq, o_at, o_prev, o_live INTO v_seq, v_at, v_prev, v_live FROM tollgate.take_head(p_ledger);
    IF NOT p_again OR NOT EXISTS (
        SELECT 1 FROM tollgate.event
        WHERE ledger = p_ledger AND seq > v_seq - 10000 AND hold = p_hold AND kind = 'refuse'
    ) THEN
        PERFORM tollgate.append(p_ledger, v_seq, v_at, v_prev, v_live, 'refuse', p_hold, p_body);
    END IF;
    RETURN '{"status":"done"}';
END
$$;

-- Puts something on record that is of no hold. For who looks after the ledger, not for a run.
CREATE FUNCTION tollgate.note(p_ledger text, p_key text, p_kind text, p_body text) RETURNS text
LANGUAGE plpgsql @secure@ AS $$
DECLARE
    v_seq bigint;
    v_at timestamptz;
    v_prev text;
    v_live integer;
BEGIN
    IF p_kind NOT IN ('repair', 'bill') THEN
        RAISE EXCEPTION 'no note is a %', p_kind USING ERRCODE = 'TG003';
    END IF;
    SELECT o_seq, o_at, o_prev, o_live INTO v_seq, v_at, v_prev, v_live FROM tollgate.take_head(p_ledger);
    PERFORM tollgate.append(p_ledger, v_seq, v_at, v_prev, v_live, p_kind, p_key, p_body);
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
