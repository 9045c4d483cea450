/*
 * The mechanism of the copies, in Promela: what copies_model.py says in Python, for more requests at once.
 *
 * One browser makes REQUESTS requests, all of which may be under way at once, on two instances with local copies,
 * behind a shared cache; WRITES of them at most are writes, and another device makes OTHERS writes more. Answers
 * arrive in any order or never (a request that takes no further step is a lost one). The cache fails, forgets,
 * and holds claims; local copies vanish, as if their instance had been killed; the browser loses cookies.
 * Time is a clock of small ticks. Left out, for the Python model has them: weak reads, ends and the feed.
 *
 * Each rule can be taken out, and then an assertion fails: -DNOPIN, -DNOLONGPIN, -DNOGUARD (a put replaces a later
 * entry), -DFILLS_EMPTY=true (a put fills an empty place), -DVOIDS=false (a put leaves a claim as it is),
 * -DREADS_PLANT=NOTHING (only writes plant floors).
 */

#ifndef REQUESTS
#define REQUESTS 4
#endif
#ifndef WRITES
#define WRITES 2 /* 6 at most together with OTHERS: versions have three bits, and 7 is NONE */
#endif
#ifndef OTHERS
#define OTHERS 0
#endif
#define SLOTS (REQUESTS + OTHERS)
#define NONE 7

/* Lives in ticks: of local copies, of cache entries, of the two pins. */
#define COPY_AGE 1
#define CACHE_LIFE 3
#ifdef NOPIN
#define SHORT_PIN 0
#else
#define SHORT_PIN (COPY_AGE + 1)
#endif
#if defined(NOPIN) || defined(NOLONGPIN)
#define LONG_PIN SHORT_PIN
#else
#define LONG_PIN (CACHE_LIFE + SHORT_PIN)
#endif

#ifdef NOGUARD
#define YIELDS(version) true
#else
#define YIELDS(version) (cache_version < (version))
#endif
#ifndef FILLS_EMPTY
#define FILLS_EMPTY false
#endif
#ifndef VOIDS
#define VOIDS true
#endif
#ifndef READS_PLANT
#define READS_PLANT SHORT
#endif

/* A request is one number, so that requests can be sorted: equal futures are equal states. */
#define PHASE(q) ((q) & 7)
#define AT(q) (((q) >> 3) & 1)         /* the instance */
#define IS_WRITE(q) (((q) >> 4) & 1)
#define IS_OTHER(q) (((q) >> 5) & 1)   /* of the other device */
#define HAS_CLAIM(q) (((q) >> 6) & 1)
#define PLANTS(q) (((q) >> 7) & 3)
#define FLOOR(q) (((q) >> 9) & 7)      /* the cookie it came with */
#define VERSION(q) (((q) >> 12) & 7)   /* what it has read or committed */
#define WROTE(q) (((q) >> 15) & 7)     /* what a read must not be older than: what the browser had been told */
#define SAW(q) (((q) >> 18) & 7)       /* of writes and of reads when the request began */

#define MADE(phase, at) ((phase) | ((at) << 3))
#define AS_WRITE (1 << 4)
#define AS_OTHER (1 << 5)
#define WITH_CLAIM (1 << 6)
#define WITH_PLANTS(what) ((what) << 7)
#define WITH_FLOOR(version) ((version) << 9)
#define WITH_VERSION(version) ((version) << 12)
#define WITH_TOLD(wrote, saw) (((wrote) << 15) | ((saw) << 18))
#define TOLD(q) ((q) & WITH_TOLD(7, 7))

/* PHASE: FREE is a slot without a request. */
#define FREE 0
#define LOOKS 1
#define ASKS_STORE 2
#define TELLS_CACHE 3
#define ANSWERED 4

/* PLANTS */
#define NOTHING 0
#define SHORT 1
#define LONG 2

/* What a place in the cache holds. */
#define EMPTY 0
#define CLAIM 1
#define ENTRY 2

int request[SLOTS];
byte starts = REQUESTS;
byte others = OTHERS;

byte stored = 0; /* the newest version */

byte local_version[2];
byte local_age[2];

/* Every run begins with copies of version 0 everywhere; without, where they are lost at once. */
byte cache = ENTRY;
byte cache_version = 0;
byte cache_life = CACHE_LIFE;
byte since = 0; /* 0 until the owner of the claim reads the store; from then on the ticks since, and one */

byte floor = 0;
byte pin = 0;
byte long_pin = 0;
byte wrote = 0;
byte saw = 0;

hidden byte v, p, i, j;
hidden int q;
hidden byte reads_its_writes, never_goes_back;

inline sort() {
    for (i : 1 .. SLOTS - 1) {
        for (j : 1 .. SLOTS - i) {
            if
            :: request[j - 1] > request[j] ->
                q = request[j]; request[j] = request[j - 1]; request[j - 1] = q
            :: else
            fi
        }
    }
    q = 0 /* Spin wants no loop to be the last in a d_step */
}

inline empty_cache() {
    cache = EMPTY; cache_version = 0; cache_life = 0
}

inline void_claim() {
    for (i : 0 .. SLOTS - 1) {
        request[i] = request[i] & ~WITH_CLAIM
    }
    since = 0
}

inline keep_local(at, version) {
    if
    :: local_version[at] == NONE || version >= local_version[at] ->
        local_version[at] = version; local_age[at] = 0
    :: else
    fi
}

/* The read in a slot has its version: next the cache, if it must be told, and then the answer. */
inline serve(slot, version) {
    q = request[slot];
    p = (FLOOR(q) == NONE || version > FLOOR(q) -> READS_PLANT : NOTHING);
    if
    :: p != NOTHING || HAS_CLAIM(q) ->
        request[slot] = MADE(TELLS_CACHE, 0) | (q & WITH_CLAIM) | TOLD(q) | WITH_PLANTS(p) | WITH_VERSION(version)
    :: else ->
        request[slot] = MADE(ANSWERED, 0) | TOLD(q) | WITH_VERSION(version)
    fi;
    sort()
}

inline answer(slot, plants) {
    q = request[slot];
    request[slot] = (IS_OTHER(q) -> 0 :
        MADE(ANSWERED, 0) | (q & AS_WRITE) | TOLD(q) | WITH_PLANTS(plants) | WITH_VERSION(VERSION(q)))
}

inline deliver(slot) {
    q = request[slot];
    v = VERSION(q);
    reads_its_writes = (IS_WRITE(q) || v >= WROTE(q));
    assert(reads_its_writes);
    never_goes_back = (IS_WRITE(q) || v >= SAW(q));
    assert(never_goes_back);
    wrote = (IS_WRITE(q) && v > wrote -> v : wrote);
    saw = (v > saw -> v : saw);
    if
    :: PLANTS(q) == SHORT -> floor = v; pin = SHORT_PIN
    :: PLANTS(q) == LONG -> floor = v; long_pin = LONG_PIN
    :: else
    fi;
    request[slot] = 0;
    sort()
}

#define ME request[_pid]
#define LOCAL_SERVES (local_version[AT(ME)] != NONE && local_version[AT(ME)] >= FLOOR(ME))
#define CACHE_SERVES (cache == ENTRY && cache_version >= FLOOR(ME))
#define PAST_LOCAL (PHASE(ME) == LOOKS && !LOCAL_SERVES)

/* Takes the next step of whichever request is in its slot. These processes come first, for their numbers. */
active [SLOTS] proctype Slot() {
    do
    :: d_step { PHASE(ME) == LOOKS && LOCAL_SERVES ->
        v = local_version[AT(ME)]; serve(_pid, v) }

    :: d_step { PAST_LOCAL && CACHE_SERVES ->
        v = cache_version; keep_local(AT(ME), v); serve(_pid, v) }

    :: d_step { PAST_LOCAL && cache == EMPTY ->
        cache = CLAIM; ME = (ME - LOOKS + ASKS_STORE) | WITH_CLAIM; sort() }

    :: d_step { PAST_LOCAL -> /* the cache cannot be reached, or has a claim, or what is too old */
        ME = ME - LOOKS + ASKS_STORE; sort() }

    :: d_step { PHASE(ME) == ASKS_STORE ->
        if
        :: HAS_CLAIM(ME) -> since = 1
        :: else
        fi;
        keep_local(AT(ME), stored); serve(_pid, stored) }

    :: d_step { PHASE(ME) == TELLS_CACHE -> /* and fails; its claim stays */
        p = (PLANTS(ME) != NOTHING -> LONG : NOTHING);
        since = (HAS_CLAIM(ME) -> 0 : since);
        answer(_pid, p); sort() }

    :: d_step { PHASE(ME) == TELLS_CACHE && HAS_CLAIM(ME) ->
        cache = ENTRY; cache_version = VERSION(ME); cache_life = CACHE_LIFE - (since - 1);
        if
        :: cache_life == 0 -> empty_cache()
        :: else
        fi;
        answer(_pid, PLANTS(ME)); void_claim(); sort() }

    :: d_step { PHASE(ME) == TELLS_CACHE && !HAS_CLAIM(ME) ->
        if
        :: PLANTS(ME) == NOTHING && !IS_WRITE(ME) /* it has lost its claim */
        :: else ->
            if
            :: cache == CLAIM && VOIDS -> empty_cache(); void_claim()
            :: cache == ENTRY && YIELDS(VERSION(ME)) -> cache_version = VERSION(ME)
            :: cache == EMPTY && FILLS_EMPTY ->
                cache = ENTRY; cache_version = VERSION(ME); cache_life = CACHE_LIFE
            :: else /* an empty place stays empty */
            fi
        fi;
        answer(_pid, PLANTS(ME)); sort() }

    :: d_step { PHASE(ME) == ANSWERED -> deliver(_pid) }
    od
}

inline start_read(at) {
    starts--;
    p = (floor == NONE || pin > 0 || long_pin > 0 -> ASKS_STORE : LOOKS);
    request[0] = MADE(p, at) | WITH_FLOOR(floor) | WITH_TOLD(wrote, saw);
    sort()
}

inline start_write(at, marks) {
    stored++;
    keep_local(at, stored);
    request[0] = MADE(TELLS_CACHE, 0) | marks | WITH_VERSION(stored);
    sort()
}

inline tick() {
    pin = (pin > 0 -> pin - 1 : 0);
    long_pin = (long_pin > 0 -> long_pin - 1 : 0);
    for (i : 0 .. 1) {
        if
        :: local_version[i] == NONE
        :: local_version[i] != NONE && local_age[i] < COPY_AGE -> local_age[i]++
        :: else -> local_version[i] = NONE; local_age[i] = 0
        fi
    }
    if
    :: cache == ENTRY && cache_life > 1 -> cache_life--
    :: cache == ENTRY && cache_life <= 1 -> empty_cache()
    :: since > 0 && since <= CACHE_LIFE -> since++
    :: else
    fi
}

#define MAY_START (starts > 0 && request[0] == 0)
#define MAY_WRITE (MAY_START && stored < WRITES + OTHERS - others)

/* The browser, the other device, time, and what goes wrong. */
active proctype World() {
    do
    :: d_step { MAY_START -> start_read(0) }
    :: d_step { MAY_START -> start_read(1) }
    :: d_step { MAY_WRITE -> starts--; start_write(0, AS_WRITE | WITH_PLANTS(SHORT)) }
    :: d_step { MAY_WRITE -> starts--; start_write(1, AS_WRITE | WITH_PLANTS(SHORT)) }
    :: d_step { others > 0 && request[0] == 0 -> others--; start_write(0, AS_WRITE | AS_OTHER) }
    :: d_step { others > 0 && request[0] == 0 -> others--; start_write(1, AS_WRITE | AS_OTHER) }
    :: d_step { true -> tick() }
    :: d_step { cache != EMPTY -> empty_cache(); void_claim() }
    :: d_step { local_version[0] != NONE -> local_version[0] = NONE; local_age[0] = 0 }
    :: d_step { local_version[1] != NONE -> local_version[1] = NONE; local_age[1] = 0 }
    :: d_step { floor != NONE && wrote + saw > 0 -> floor = NONE }
    :: d_step { floor != NONE && wrote + saw > 0 && long_pin == 0 -> floor = NONE; pin = 0 }
    od
}
