-- Texts that lines are made of: amounts, instants, names, and what a run says of itself.
--
-- What a role hands over stands in a line as it was handed over. It is read here and written anew first:
-- what differs from that by one character was not written by a tollgate of this version, could perhaps not
-- be read by one, and is an error. A field that is added there is added here. Where it can be, a
-- function here becomes a part of its caller: a call costs more than what it does.

-- An amount in a line to pico-dollars; nothing for anything else.
CREATE FUNCTION tollgate.pico(p_usd text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_usd ~ '^[0-9]{1,24}([.][0-9]{1,12})?$' THEN (p_usd::numeric * 1e12)::numeric(38, 0) END
$$;

-- Pico-dollars as they stand in a line.
CREATE FUNCTION tollgate.usd(p_pico numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT rtrim(rtrim((p_pico * 0.000000000001)::text, '0'), '.')
$$;

-- An instant in a line; nothing for anything else.
CREATE FUNCTION tollgate.instant(p_at text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN left(p_at, 4) <> '9999'
        AND p_at ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?Z$'
    THEN p_at::timestamptz END
$$;

-- An instant as it stands in a line.
CREATE FUNCTION tollgate.shown(p_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT rtrim(rtrim(to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.') || 'Z'
$$;

CREATE FUNCTION tollgate.far() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT '9999-12-31 00:00:00+00'::timestamptz
$$;

-- A text as it stands in a line. This and the next are stable as what they call is: else they are called
-- where they could be a part of the expression.
CREATE FUNCTION tollgate.quoted(p_text text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_json(p_text)::text
$$;

CREATE FUNCTION tollgate.sha256(p_text text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT @sha256@
$$;

-- A count, as it stands in a line; nothing for anything else.
CREATE FUNCTION tollgate.counted(p_number text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_number ~ '^(0|[1-9][0-9]{0,18})$' THEN p_number END
$$;

-- Why something is done, as it stands in a line.
CREATE FUNCTION tollgate.reason(p_reason text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_reason IS NULL OR btrim(p_reason) = '' OR octet_length(p_reason) > 512 THEN
        RAISE EXCEPTION 'a reason must have 1 to 512 bytes' USING ERRCODE = 'TG003';
    END IF;
    RETURN tollgate.quoted(p_reason);
END
$$;

-- The names in a JSON array: of a hold's purses, as many as `decide` takes. In another order than they stand in,
-- they would be written anew in that order.
CREATE FUNCTION tollgate.names(p_names text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_names text[];
    v_written text;
    v_fine boolean;
BEGIN
    SELECT array_agg(o.name), '[' || string_agg(to_json(o.name)::text, ',') || ']',
        count(*) <= 64 AND count(*) = count(DISTINCT o.name)
            AND bool_and(octet_length(o.name) BETWEEN 1 AND 512)
    INTO v_names, v_written, v_fine
    FROM jsonb_array_elements_text(p_names::jsonb) AS o(name);
    IF v_fine IS NOT TRUE OR v_written IS DISTINCT FROM p_names THEN
        RAISE EXCEPTION 'not names of purses' USING ERRCODE = 'TG003';
    END IF;
    RETURN v_names;
END
$$;

-- A limit, written anew; nothing where it is none.
CREATE FUNCTION tollgate.limit_text(p_limit jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_limit->>'enforce' IN ('hard', 'soft', 'count')
        AND tollgate.pico(p_limit->>'usd') IS NOT NULL AND tollgate.instant(p_limit->'window'->>'start') IS NOT NULL
        AND (p_limit->'window'->>'end' IS NULL OR tollgate.instant(p_limit->'window'->>'end') IS NOT NULL)
        AND coalesce(p_limit->'window'->>'start', '') || coalesce(p_limit->'window'->>'end', '') !~ '[.][0-9]{7}'
    THEN '{"purse":' || tollgate.quoted(p_limit->>'purse') || ',"per":' || tollgate.quoted(p_limit->>'per')
        || ',"window":{"start":"' || (p_limit->'window'->>'start') || '","end":'
        || coalesce('"' || (p_limit->'window'->>'end') || '"', 'null') || '},"usd":"' || (p_limit->>'usd')
        || '","enforce":"' || (p_limit->>'enforce') || '"}'
    END
$$;

-- Limits, one a row. `OFFSET` keeps a column that is used twice from being computed twice.
CREATE FUNCTION tollgate.limits(
    p_limits text,
    OUT o_n integer, OUT o_purse text, OUT o_enforce text, OUT o_usd numeric,
    OUT o_start timestamptz, OUT o_end timestamptz, OUT o_limit text
) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT o.n::integer, o.v->>'purse', o.v->>'enforce', tollgate.pico(o.v->>'usd'),
        tollgate.instant(o.v->'window'->>'start'),
        coalesce(tollgate.instant(o.v->'window'->>'end'), tollgate.far()), tollgate.limit_text(o.v)
    FROM jsonb_array_elements(p_limits::jsonb) WITH ORDINALITY AS o(v, n) OFFSET 0
$$;

-- What a run says it is, written anew.
CREATE FUNCTION tollgate.about_text(p_about jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '{"task":' || to_json(p_about->>'task')::text || ',"tier":' || to_json(p_about->>'tier')::text
        || ',"model":' || to_json(p_about->>'model')::text || ',"actor":' || to_json(p_about->>'actor')::text
        || ',"pr":' || CASE WHEN p_about->>'pr' IS NULL THEN 'null' ELSE tollgate.counted(p_about->>'pr') END
        || ',"workflow":' || coalesce(to_json(p_about->>'workflow')::text, 'null')
        || coalesce(',"stakes":' || to_json(p_about->>'stakes')::text, '')
        || coalesce(',"budget":' || to_json(p_about->>'budget')::text, '') || '}'
$$;

-- An override, written anew.
CREATE FUNCTION tollgate.lift_text(p_lift jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN tollgate.pico(p_lift->>'usd') > 0 AND tollgate.instant(p_lift->>'set') IS NOT NULL
        AND tollgate.instant(p_lift->>'expires') IS NOT NULL
    THEN '{"usd":"' || (p_lift->>'usd') || '","label":' || tollgate.quoted(p_lift->>'label')
        || ',"by":' || tollgate.quoted(p_lift->>'by') || ',"set":"' || (p_lift->>'set')
        || '","expires":"' || (p_lift->>'expires') || '"}'
    END
$$;

-- Counts of tokens by kind, written anew. A kind that is not known here is a count as well.
CREATE FUNCTION tollgate.tokens_text(p_tokens json) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) = count(DISTINCT o.k) AND bool_and(o.k ~ '^[a-z0-9_]{1,40}$')
        AND bool_and(tollgate.counted(o.v::text) IS NOT NULL)
        AND count(*) FILTER (
            WHERE o.k IN ('input', 'cache_read', 'cache_write_5m', 'cache_write_1h', 'output')
        ) = 5
    THEN '{' || string_agg('"' || o.k || '":' || o.v, ',' ORDER BY o.n) || '}' END
    FROM json_each(p_tokens) WITH ORDINALITY AS o(k, v, n)
$$;

-- What was spent, in pico-dollars; an error where it is no spend.
CREATE FUNCTION tollgate.spent(p_spend text) RETURNS numeric LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_spend json := p_spend::json;
    v_usd numeric := tollgate.pico(v_spend->>'usd');
    v_estimated numeric := tollgate.pico(v_spend->>'estimated');
    v_models text;
BEGIN
    IF v_estimated > v_usd THEN
        RAISE EXCEPTION 'more is estimated than spent' USING ERRCODE = 'TG003';
    END IF;
    SELECT coalesce(string_agg(
        '{"model":' || tollgate.quoted(o.v->>'model') || ',"usd":"'
            || CASE WHEN tollgate.pico(o.v->>'usd') IS NOT NULL THEN o.v->>'usd' END
            || '","requests":' || tollgate.counted(o.v->>'requests')
            || ',"tokens":' || tollgate.tokens_text(o.v->'tokens')
            || CASE WHEN o.v->>'notional' IS NULL THEN ''
            WHEN tollgate.pico(o.v->>'notional') IS NOT NULL
            THEN ',"notional":"' || (o.v->>'notional') || '"' END || '}',
        ',' ORDER BY o.n
    ), '') INTO v_models
    FROM json_array_elements(v_spend->'models') WITH ORDINALITY AS o(v, n);
    v_models := '{"usd":"' || (v_spend->>'usd') || '","estimated":"' || (v_spend->>'estimated')
        || '","models":[' || v_models || ']'
        || CASE WHEN v_spend->>'notional' IS NULL THEN ''
        WHEN tollgate.pico(v_spend->>'notional') IS NOT NULL
        THEN ',"notional":"' || (v_spend->>'notional') || '"' END || '}';
    IF v_usd IS NULL OR v_estimated IS NULL OR p_spend::jsonb IS NULL OR v_models IS DISTINCT FROM p_spend THEN
        RAISE EXCEPTION 'not a spend as it stands in a line' USING ERRCODE = 'TG003';
    END IF;
    RETURN v_usd;
END
$$;

-- What is recorded of a run that was refused, written anew.
CREATE FUNCTION tollgate.refusal_text(p_body text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := p_body::json;
    v_by text := (SELECT l.o_limit FROM tollgate.limits('[' || (v->>'by') || ']') AS l);
    v_purses text[] := tollgate.names(v->>'purses');
BEGIN
    RETURN '{"least":"' || tollgate.usd(tollgate.pico(v->>'least')) || '","by":' || v_by
        || ',"settled":"' || tollgate.usd(tollgate.pico(v->>'settled'))
        || '","held":"' || tollgate.usd(tollgate.pico(v->>'held'))
        || '","purses":' || (v->>'purses') || ',"about":' || tollgate.about_text((v->>'about')::jsonb) || '}';
END
$$;
