// The table of commands: all that --help, completion and parsing know.

#include "client/cli/command.h"

namespace tessera::client {
namespace {

constexpr Flag kGlobalFlags[] = {
    {"server", "HOST:PORT", "coordinator to talk to (TESSERA_SERVER; 127.0.0.1:7070)"},
    {"tenant", "TENANT", "whose jobs (TESSERA_TENANT; default)"},
    {"token-file", "FILE", "file that holds the credential (or TESSERA_TOKEN holds it itself)"},
    {"tls", "", "connect with TLS, trusting the machine's certificates"},
    {"tls-ca", "FILE", "connect with TLS, trusting these certificates (PEM)"},
    {"timeout", "DURATION", "how long a call may take, tries included (5s)"},
    {"json", "", "machine-readable output; errors as one JSON object on stderr"},
    {"help", "", "say more about a command"},
};

constexpr Flag kUpFlags[] = {
    {"listen", "HOST:PORT", "where to serve (127.0.0.1:7070)"},
    {"data-dir", "DIR", "folder for the data; made if missing (./tessera-data)"},
};

constexpr Flag kDemoFlags[] = {
    {"seed", "N", "seed of the crowd's order of arrival and pace (1)"},
    {"seeds", "K", "run K times, with seeds N, N+1, ..., and give the means (1)"},
    {"speed", "FACTOR",
     "recorded time passes so many times as fast; `max`: at once (default: so "
     "that there is something to see)"},
    {"keep", "", "keep the data folder and say where it is"},
};

#define TESSERA_JOB_FLAGS                                                                        \
  {"name", "TEXT", "name of the job, for people (the file's name)"},                             \
      {"template", "FILE", "task template as JSON (TaskTemplate); or say --classes"},            \
      {"classes", "A,B,...", "the classes of a one-question template; VALUE=LABEL shows LABEL"}, \
      {"question", "TEXT", "with --classes: what the worker is asked"},                          \
      {"policy", "FILE", "policy as JSON (Policy), for what has no flag; flags win over it"},    \
      {"budget", "MONEY", "the most that may ever be spent, such as 40 or 12.50"},               \
      {"currency", "CODE", "ISO 4217 (USD)"},                                                    \
      {"price", "MONEY", "for one answer to one item (the pool's price)"},                       \
      {"pool-price", "POOL=MONEY", "another price in this pool", true},                          \
      {"value", "MONEY",                                                                         \
       "what an item's right answer is worth (1): among the tenant's jobs the one with most "    \
       "priority x value for a second of work is served first. It stops no buying so far"},      \
      {"target", "P", "an item is done at this confidence: above 0.5, below 1 (0.95)"},          \
      {"answers-min", "N", "answers before an item may be done (2)"},                            \
      {"answers-max", "N", "most answers bought for an item (10)"},                              \
      {"answers-per-worker-max", "N", "most answers of one worker in the job (no cap)"},         \
      {"priority", "WEIGHT", "weight among the tenant's jobs (1)"},                              \
      {"deadline", "TIME", "RFC 3339, or from now on like 2h: no leases after it"},              \
      {"split", "STRATEGY", "uniform, stratified or adaptive (uniform)"},                        \
      {"bundle-max", "N", "most items in a microtask (10)"},                                     \
      {"pool", "POOL", "pools that may answer (default)", true},                                 \
      {"skill", "SKILL", "workers must have these skills", true},                                \
      {"language", "TAG", "workers must have one of these languages", true}, {                   \
    "manual", "", "end the job only by `tessera finalise`"                                       \
  }

#define TESSERA_ITEM_FLAGS                                                                       \
  {"key-column", "NAME", "column of the item's key (key, item, item_key or id)"},                \
      {"content-column", "NAME", "columns that workers see (all that mean nothing else)", true}, \
      {"metadata-column", "NAME", "columns kept with the item and not shown to workers", true},  \
      {"link-column", "NAME", "columns that hold addresses of images or recordings", true},      \
      {"length-column", "NAME", "column of the item's length, in units of your choice"},         \
      {"stratum-column", "NAME", "column of the stratum, for --split stratified"},               \
      {"importance-column", "NAME", "column of the item's weight"},                              \
      {"language-column", "NAME", "column of the item's language"},                              \
      {"gold-column", "NAME",                                                                    \
       "column of the known answer, where there is one: it teaches how good workers are and is " \
       "never shown to them; the item is asked like any other"},                                 \
  {                                                                                              \
    "item-bytes-max", "N", "largest item, where the coordinator allows more (65536)"             \
  }

constexpr Flag kSubmitFlags[] = {
    TESSERA_JOB_FLAGS,
    TESSERA_ITEM_FLAGS,
    {"request-id", "ID",
     "makes a repeat, with the same file, go on with the same job (a random one); items that are "
     "there already are compared"},
    {"paused", "", "create it paused; `tessera resume` starts it"},
    {"wait", "", "watch the job until it has ended"},
};

constexpr Flag kPlanFlags[] = {TESSERA_JOB_FLAGS, TESSERA_ITEM_FLAGS};

constexpr Flag kReplayFlags[] = {
    {"speed", "FACTOR", "recorded time passes so many times as fast; `max`: at once (1)"},
    {"seed", "N", "seed of the order of arrival and of times that were not recorded (1)"},
    {"mean-seconds", "S", "mean time for an answer where the file has no seconds (20)"},
    {"arrival-window", "DURATION", "workers arrive over so much recorded time (2m)"},
    {"items-max", "N", "most items that a worker takes at once (as the job plans)"},
    {"skip-unfit", "", "leave out answers that are none of the job's classes, not refuse them all"},
    {"worker-pool", "POOL", "pool to lease from (default)"},
    {"gateway", "NAME", "name of the gateway (made from the job)"},
};

constexpr Flag kJobsFlags[] = {
    {"state", "STATE", "only running, paused, closing, finalised or cancelled ones", true},
};

constexpr Flag kResultsFlags[] = {
    {"format", "FORMAT", "csv or jsonl (csv; jsonl with --json)"},
    {"follow", "", "go on until the job has ended; revisions in the order of their commits"},
    {.name = "resume-token",
     .value = "TOKEN",
     .help = "go on after an earlier run; its token is told on stderr (empty: from the start)",
     .may_be_empty = true},
    {"state", "STATE", "only waiting, in_progress, resolved, unresolved or cancelled items", true},
};

constexpr Flag kUpdateFlags[] = {
    {.name = "name", .value = "TEXT", .help = "name of the job, for people", .may_be_empty = true},
    {"budget", "MONEY", "the most that may ever be spent"},
    {"priority", "WEIGHT", "weight among the tenant's jobs"},
    {"deadline", "TIME", "RFC 3339, or from now on like 2h; `none` takes it away"},
    {"target", "P", "confidence at which an item is done"},
    {"answers-min", "N", "answers before an item may be done"},
    {"answers-max", "N", "most answers bought for an item"},
};

constexpr Flag kWorkersFlags[] = {
    {"platform", "PLATFORM", "only workers of this platform"},
    {"job", "JOB", "only workers who answered in this job"},
    {"block", "REASON", "with WORKER: no more leases; REASON is what the worker may be told"},
    {"unblock", "", "with WORKER: take the block back"},
};

constexpr Flag kCancelFlags[] = {
    {"wait", "", "wait until it has ended"},
};

constexpr Flag kInspectFlags[] = {
    {"data-dir", "DIR", "data folder of `tessera up` or a coordinator (./tessera-data)"},
    {"redis", "ADDRESS", "a Redis instead: HOST:PORT or unix:PATH"},
    {"redis-user", "USER", "its user, where it is not the default one (TESSERA_REDIS_USER)"},
    {"partition", "N", "partition, from 0 on (0)"},
    {"pages", "", "show the pages and job heads that the state is made of, instead of records"},
    {"digest", "", "show the state's digest, from pages and from the journal, and compare"},
    {"from", "ID", "begin at this record, EPOCH-SEQUENCE"},
    {"limit", "N", "at most this many records (all)"},
};

constexpr Command kCommands[] = {
    {"demo", "", "Watch recorded people do a real job",
     "Starts a coordinator with its own Redis in a temporary folder and hands it a job: 800 pairs\n"
     "of sentences, does the one follow from the other? 164 people answered them once, ten times\n"
     "each. They are brought back and answer again, but only what Tessera asks them for. At the\n"
     "end you see how many answers it bought, what they cost, and how often the results are "
     "right,\n"
     "beside what a majority and Dawid-Skene make of all 8,000 answers.",
     "tessera demo\ntessera demo --json --speed max --seeds 10", kDemoFlags, RunDemoCommand},
    {"up", "[-- COORDINATOR_FLAGS]", "Run all of Tessera on this machine",
     "Starts a coordinator, which starts a Redis of its own in the data folder. Prints the "
     "address\n"
     "once it serves. Ctrl-C ends everything cleanly: work under way is committed first. Started\n"
     "again with the same folder it goes on where it was. Flags after `--` are the coordinator's.",
     "tessera up --data-dir ./tessera-data", kUpFlags, RunUp},
    {"submit", "FILE", "Create a job from a file of items",
     "FILE is CSV (the first line names the columns) or JSON lines. One column is the item's key;\n"
     "the others are shown to workers, unless a flag gives them a meaning. The whole file is "
     "checked\n"
     "against all limits of the contract before anything is created: a fault names its line. A "
     "budget\n"
     "that brings no item to its end is warned of, with --json in `warnings`. Items are sent in\n"
     "batches; a broken connection is waited out, and the rest goes on from what is committed. "
     "Then\n"
     "the job is sealed and its name printed. Where that breaks off or is interrupted, the job\n"
     "stays, unsealed: a repeat with the same --request-id goes on with it; `cancel` and `delete`\n"
     "take it away.",
     "tessera submit pairs.csv --classes 0=no,1=yes --question 'Does it follow?' \\\n"
     "  --budget 40 --price 0.01",
     kSubmitFlags, RunSubmit},
    {"plan", "JOB|FILE", "Say how a job would be split and what it would cost",
     "Of a job that exists, with what is known of it; or of a file of items, before it is\n"
     "submitted, with the flags and the checks of `submit`. Nothing is changed or spent. Flags "
     "given\n"
     "with a JOB plan it as if its policy were changed. How many answers an item takes is a guess "
     "at\n"
     "first, from --target alone; it is learnt as the job goes on.",
     "tessera plan pairs.csv --classes no,yes --budget 40 --price 0.01\ntessera plan JOB --budget "
     "20",
     kPlanFlags, RunPlan},
    {"watch",
     "JOB",
     "Follow a job until it has ended",
     "On a terminal a display that is drawn again; otherwise a line whenever something changed;\n"
     "with --json a JobStatus a line. Says why a job stands still, and why items that were done "
     "are\n"
     "open again: a new fit may be less sure of them. Ends with 0 once the job is finalised, with "
     "5\n"
     "once it is cancelled. A coordinator that restarts is waited for.",
     "tessera watch JOB",
     {},
     RunWatch},
    {"jobs", "[JOB]", "List jobs, or show one",
     "All jobs of the tenant, a line each; or one with its counts, money, template and policy.\n"
     "--state may be repeated.",
     "tessera jobs --state running\ntessera jobs JOB --json", kJobsFlags, RunJobs},
    {"results", "JOB", "Print the fused results",
     "Each item's value and confidence, in the order in which the items were added. With "
     "--follow,\n"
     "revisions as they are committed: keep the last one of each item. A token at the end (on "
     "stderr)\n"
     "lets a later call go on from there.",
     "tessera results JOB > results.csv\ntessera results JOB --follow --format jsonl",
     kResultsFlags, RunResults},
    {"explain",
     "JOB ITEM",
     "Tell an item's story",
     "Which answers were bought from whom, how much each weighs, and the posterior they make.\n"
     "ITEM is the item's key; one that begins with a dash stands after `--`.",
     "tessera explain JOB 25",
     {},
     RunExplain},
    {"pause",
     "JOB",
     "Stop new leases of a job",
     "Open assignments go on, and their answers count and are paid. `resume` takes it back.",
     "tessera pause JOB",
     {},
     RunPause},
    {"resume",
     "JOB",
     "Let a paused job go on",
     "Takes back `pause` and `submit --paused`. Lack of money or time pauses a job, too: that "
     "ends\n"
     "with `tessera update`.",
     "tessera resume JOB",
     {},
     RunResume},
    {"finalise", "JOB", "End a job with what is known",
     "The job closes: open assignments are waited for, then every result is final.",
     "tessera finalise JOB --wait", kCancelFlags, RunFinalise},
    {"cancel", "JOB", "End a job without waiting for its items",
     "Open assignments are waited for until their grace is over. What was earned is paid.",
     "tessera cancel JOB", kCancelFlags, RunCancel},
    {"update", "JOB", "Change budget, deadline, quality or priority",
     "More money or time ends the pause that the lack of it caused.",
     "tessera update JOB --budget 60", kUpdateFlags, RunUpdate},
    {"delete",
     "JOB",
     "Delete a job that has ended",
     "With its items, answers and results. There is no way back. One that has not ended is "
     "refused\n"
     "with 5: end it with `cancel` or `finalise` first.",
     "tessera delete JOB",
     {},
     RunDelete},
    {"workers", "[WORKER]", "List workers, show or block one",
     "WORKER is PLATFORM/WORKER or a full name. Of one worker you see what was learnt in each job. "
     "A\n"
     "blocked worker is given nothing new; what is in hand may still be answered.",
     "tessera workers --job JOB\ntessera workers local/ann --block 'answers at random'",
     kWorkersFlags, RunWorkers},
    {"pools",
     "",
     "List pools of workers",
     "What submit's --pool and --pool-price and replay's --worker-pool name: with the skills and\n"
     "languages of their workers, and the price of an answer where a job states none.",
     "tessera pools",
     {},
     RunPools},
    {"partitions",
     "[PARTITION]",
     "List partitions, or show one with its digest",
     "Who owns them, where their journals stand, what they take in Redis. PARTITION is p0, p1, ...",
     "tessera partitions\ntessera partitions p0 --json",
     {},
     RunPartitions},
    {"replay", "JOB VOTES.csv", "Bring a crowd of recorded workers",
     "VOTES.csv has the columns item, worker and label, and may have seconds. Every recorded "
     "worker\n"
     "asks for the items that they answered in the recording and gives the recorded answer, at "
     "the\n"
     "recorded or a scaled pace. A coordinator that restarts is waited for, and nothing is lost "
     "or\n"
     "counted twice.\n"
     "\n"
     "Before anybody comes, the recording is held against the job. Labels that are none of its\n"
     "classes are refused with their number (--skip-unfit leaves them out), items that a sealed "
     "job\n"
     "does not have are left out with a notice; with none left it ends with 3.\n"
     "\n"
     "Ends with 0 when the job has ended; when nobody has anything left that it wants; when it "
     "has\n"
     "said for 3 s that nobody here can help it (no eligible worker, no money, only `finalise` is\n"
     "missing); or when for 10 s it offered nothing and nobody was at work on it. Goes on waiting\n"
     "while the job is paused, not started yet, or at a limit of its rate.\n"
     "\n"
     "Where the deployment has tokens, it takes one with the roles requester (it reads and "
     "watches\n"
     "the job) and gateway (it brings workers): in --tokens-file `requester,gateway *`.",
     "tessera replay JOB votes.csv --speed 100", kReplayFlags, RunReplay},
    {"inspect", "", "Show a journal and pages in readable form",
     "Reads what a coordinator stored: records with their events, or pages and job heads, or the\n"
     "digest of the state that they fold to. A data folder is read while no coordinator uses it, "
     "a\n"
     "Redis of your own at any time (its password comes from TESSERA_REDIS_PASSWORD, its user "
     "from\n"
     "--redis-user or TESSERA_REDIS_USER). Changes nothing. Ends with 3 where there is no such\n"
     "partition, or no record from --from on.",
     "tessera inspect --data-dir ./tessera-data --limit 20", kInspectFlags, RunInspect},
    {"completion",
     "SHELL",
     "Print a completion script",
     "SHELL is bash, zsh or fish.",
     "tessera completion bash > ~/.local/share/bash-completion/completions/tessera\n"
     "tessera completion zsh > ~/.zfunc/_tessera\n"
     "tessera completion fish > ~/.config/fish/completions/tessera.fish",
     {},
     RunCompletion},
};

}  // namespace

absl::Span<const Command> Commands() { return kCommands; }
absl::Span<const Flag> GlobalFlags() { return kGlobalFlags; }

}  // namespace tessera::client
