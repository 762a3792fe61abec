-- The tables of a ledger. `event` is the truth, line for line what a file ledger holds; the others are
-- what the functions need to decide without reading it, and `tollgate ledger verify` compares them.
--
-- Money is a whole number of pico-dollars. Instants have whole microseconds, as this server's do.

-- Whose turn it is: the row is locked and never changed, so that those who wait for it stand in one line.
-- Behind a row that changes, each change wakes all of them to look for its next version.
CREATE TABLE tollgate.turn (
    ledger text PRIMARY KEY
);

CREATE TABLE tollgate.head (
    ledger text PRIMARY KEY,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    hash text NOT NULL,
    live integer NOT NULL
);

CREATE TABLE tollgate.event (
    ledger text NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    hold text NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (ledger, seq)
);

CREATE TABLE tollgate.hold (
    ledger text NOT NULL,
    id text NOT NULL,
    -- The numbers of its events.
    events bigint[] NOT NULL,
    reserved timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    phase text NOT NULL,
    claim text NOT NULL,
    cap numeric(38, 0) NOT NULL,
    charged numeric(38, 0) NOT NULL,
    -- Its spend as JSON; empty while it is held.
    spend text NOT NULL,
    adjusted boolean NOT NULL,
    purses text[] NOT NULL,
    -- Whose it is, and its limits, as JSON as they stand in its lines: an instant there may be finer than here.
    origin_json text NOT NULL,
    limits_json text NOT NULL,
    PRIMARY KEY (ledger, id)
);

CREATE INDEX hold_reserved ON tollgate.hold (ledger, reserved);
CREATE INDEX hold_live ON tollgate.hold (ledger, expires) WHERE phase = 'held';

-- What is settled and held in a window of a purse. The end comes before the start in the key, so that
-- the windows that are over are not looked at.
CREATE TABLE tollgate.account (
    ledger text NOT NULL,
    purse text NOT NULL,
    end_at timestamptz NOT NULL,
    start_at timestamptz NOT NULL,
    settled numeric(38, 0) NOT NULL,
    held numeric(38, 0) NOT NULL,
    -- The limit that last named it, as JSON.
    named text NOT NULL,
    PRIMARY KEY (ledger, purse, end_at, start_at)
);

-- Purses that some hold was ever taken for: what is not here has no spend to be summed.
CREATE TABLE tollgate.purse (
    ledger text NOT NULL,
    purse text NOT NULL,
    PRIMARY KEY (ledger, purse)
);
