-- The tables at the newest revision, for a new data directory. migrations/ leads to the same from an older one; a test
-- compares the two. What is searched for is a column, the rest of a value is one JSON document.

CREATE TABLE functions (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    tags TEXT NOT NULL, -- JSON object
    last_version INTEGER NOT NULL, -- the highest number ever given: numbers are not used again
    PRIMARY KEY (account, region, name)
);

CREATE TABLE function_versions (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    number INTEGER NOT NULL, -- the order of versions; $LATEST is 0
    revision TEXT NOT NULL,
    settled INTEGER NOT NULL, -- 0: creation or an update is in progress
    document TEXT NOT NULL, -- the version as it is shown
    serving TEXT, -- the version as invocations use it, where that is another
    PRIMARY KEY (account, region, name, version),
    FOREIGN KEY (account, region, name) REFERENCES functions (account, region, name) ON DELETE CASCADE
);

CREATE INDEX function_versions_by_number ON function_versions (account, region, name, number);

CREATE INDEX function_versions_unsettled ON function_versions (settled) WHERE settled = 0;

CREATE TABLE function_packages (
    digest TEXT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (account, region, name, version, digest),
    FOREIGN KEY (account, region, name, version)
        REFERENCES function_versions (account, region, name, version) ON DELETE CASCADE
);

CREATE INDEX function_packages_by_digest ON function_packages (digest);

-- What hangs on functions (aliases, policies, configs) and what stands alone (layers, signing configs): one row each.
CREATE TABLE records (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    number INTEGER NOT NULL, -- the order of keys that are numbers; 0 for all others
    function TEXT, -- the owner, if that is a function with which this goes
    document TEXT NOT NULL,
    digest TEXT, -- of the package that it holds
    size INTEGER,
    PRIMARY KEY (account, region, kind, owner, key),
    FOREIGN KEY (account, region, function) REFERENCES functions (account, region, name) ON DELETE CASCADE
);

CREATE INDEX records_by_order ON records (account, region, kind, owner, number, key);

CREATE INDEX records_by_function ON records (account, region, function) WHERE function IS NOT NULL;

CREATE INDEX records_by_digest ON records (digest) WHERE digest IS NOT NULL;

-- What changed last, one row per function ever named, deleted ones too, so that others can catch up.
CREATE TABLE changes (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE UNIQUE INDEX changes_by_sequence ON changes (sequence);

-- Events that wait, in queues of any name, until whoever claimed them is done with them.
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    id TEXT NOT NULL,
    queue TEXT NOT NULL,
    due REAL NOT NULL, -- seconds since the epoch, as is accepted
    attempts INTEGER NOT NULL,
    accepted REAL NOT NULL,
    size INTEGER NOT NULL, -- bytes of the payload
    head BLOB NOT NULL,
    state BLOB NOT NULL,
    payload BLOB NOT NULL -- last: the others are found without reading it
);

-- Who enqueues an event again does so with its time of acceptance; and random ids alone would be written all over the
-- index, those of a time next to each other.
CREATE UNIQUE INDEX events_by_id ON events (accepted, id);

-- Claims and counts are answered from it alone.
CREATE INDEX events_by_queue ON events (queue, due, attempts, accepted, size);

-- How many events ended without success, and why.
CREATE TABLE event_deaths (
    queue TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (queue, reason)
);
