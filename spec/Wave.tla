-------------------------------- MODULE Wave --------------------------------
(***************************************************************************)
(* One call to everybody: the echo wave with receipts, orphans that are    *)
(* adopted, the direct phase, and what happens to it when nodes crash and  *)
(* links come and go. This is overlay/wave as it is, in round 1 (the full  *)
(* wave); each operator names the function that it models. README.md says  *)
(* what is left out, and why.                                              *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    N,          \* nodes 0..N-1; node 0 is the caller
    Ends,       \* the links: a sequence of pairs of nodes
    Spare,      \* links that are not there yet
    Slow,       \* nodes whose handler takes time; the others answer at once
    Hung,       \* nodes whose handler never answers
    MayRefuse,  \* nodes that may refuse to run the call
    Excluded,   \* nodes that the call lists as excluded
    Mortal,     \* nodes that may crash
    Crashes, Breaks, Drains, PoolBreaks, Silences, Copies, Forgets, Lates,  \* how many of each
    Flushes,    \* TRUE: news goes up at any moment; FALSE: only once all below has spread, with fewer states
    Fault       \* "none", or the fault that is planted

VARIABLES
    node,   \* what each node knows of the call
    wire,   \* the links of the wave
    pool,   \* pooled connections between the caller and each node: asks, answers, adoptions
    q,      \* the caller's question
    left    \* how many faults of each kind are left

vars == <<node, wire, pool, q, left>>

Nodes == 0..N-1
Root == 0
Others == Nodes \ {Root}
Links == 1..Len(Ends)

\* Graphs for the configurations. Which of the links are spare, a configuration says.
Two      == <<<<0, 1>>>>
Chain    == <<<<0, 1>>, <<1, 2>>>>
Line     == <<<<0, 1>>, <<1, 2>>, <<2, 3>>>>
Loop     == <<<<0, 1>>, <<1, 2>>, <<2, 3>>, <<0, 3>>>>
Triangle == <<<<0, 1>>, <<1, 2>>, <<0, 2>>>>
Pan      == <<<<0, 1>>, <<1, 2>>, <<2, 3>>, <<3, 1>>>>
Square   == <<<<0, 1>>, <<1, 2>>, <<2, 3>>, <<3, 0>>, <<1, 3>>, <<0, 2>>>>
Nothing  == <<>>

EndOf(l, x) == IF Ends[l][1] = x THEN 1 ELSE 2
PeerOn(l, x) == Ends[l][3 - EndOf(l, x)]
LinksOf(x) == {l \in Links : Ends[l][1] = x \/ Ends[l][2] = x}

(***************************************************************************)
(* call.go call: seen is the window (once.Window), table whether an entry  *)
(* is left. exec is the local run; res its result. part.go part: parent is *)
(* a link, 0 at the caller. asked: a direct ask waits for the result.      *)
(***************************************************************************)
NoPart == [has |-> FALSE]
Blank == [up |-> TRUE, seen |-> FALSE, table |-> FALSE, exec |-> "none", res |-> "", runs |-> 0,
          asked |-> FALSE, part |-> NoPart, fresh |-> {}, all |-> {}]
NewPart(parent) ==
    [has |-> TRUE, parent |-> parent, orphan |-> FALSE, again |-> FALSE, closed |-> FALSE, told |-> FALSE,
     spoke |-> [l \in {} |-> ""], spread |-> {}]

\* News that goes up: results, receipts, testimony about broken links.
Result(x, r) == <<"result", x, r>>
Receipt(x, parent) == <<"receipt", x, parent>>
Reset(witness, x) == <<"reset", witness, x>>

Now == [node |-> node, wire |-> wire, pool |-> pool, q |-> q]
\* TLC works s out once, because a set is bound by its value.
Become(s) == \E t \in {s} : node' = t.node /\ wire' = t.wire /\ pool' = t.pool /\ q' = t.q
Free(s) == Become(s) /\ UNCHANGED left
Spend(kind) == left[kind] > 0 /\ left' = [left EXCEPT ![kind] = @ - 1]

\* The ends of a link: "new" not up yet, "up", "drain" (nothing new goes over it), "down" (LinkDown was told).
St(s, l, x) == s.wire[l].st[EndOf(l, x)]
Send(s, l, x, msg) ==
    IF s.wire[l].broken \/ St(s, l, x) = "down" THEN s
    ELSE [s EXCEPT !.wire[l].q[3 - EndOf(l, x)] = Append(@, msg)]
ToRoot(s, x, msg) == [s EXCEPT !.pool[x].up = Append(@, msg)]

Part(s, x) == s.node[x].part
Resolved(s, x) == \A l \in DOMAIN Part(s, x).spoke : Part(s, x).spoke[l] = "resolved"
HasSpread(s, x) == \A l \in DOMAIN Part(s, x).spoke : Part(s, x).spoke[l] = "resolved" \/ l \in Part(s, x).spread
Settled(s, x) == s.node[x].exec \in {"done", "relay"}
OwesNothing(s, x) == Resolved(s, x) /\ Settled(s, x)
Open(s, x) == Part(s, x).has /\ ~Part(s, x).closed

----------------------------------------------------------------------------
(* The caller's verdicts (settle.go, end.go).                              *)

Given(s, t) == s.q.verdict[t] # "none"

\* settle.go give. The code panics on a second verdict; here it is counted.
Give(s, t, v) ==
    LET u == [s EXCEPT !.q.verdict[t] = v, !.q.given[t] = @ + 1, !.q.ask[t] = "ended"]
    IN [u EXCEPT !.q.done = \A x \in Nodes : u.q.verdict[x] # "none"]

\* settle.go verdictOf: a target's own word.
VerdictOf(s, t, r) ==
    IF Given(s, t) /\ Fault # "second-verdict" THEN s
    ELSE Give([s EXCEPT !.q.received = @ \cup {t}], t, r)

\* end.go mayHaveRun: "no" only while no byte of the call went anywhere.
MayHaveRun(s, t) ==
    IF s.q.relayed \/ t \in s.q.handed \/ t \in s.q.received THEN "maybe"
    ELSE "no"
Unanswered(s, t) == IF Fault = "silence-is-no" /\ t \notin s.q.received THEN "no" ELSE MayHaveRun(s, t)

\* end.go leads: the receipts lead from a node to us, over links not known to be broken.
RECURSIVE LeadsIn(_, _, _)
LeadsIn(s, x, steps) ==
    LET p == s.q.parents[x]
    IN /\ steps > 0 /\ p >= 0 /\ <<p, x>> \notin s.q.cuts
       /\ p = Root \/ LeadsIn(s, p, steps - 1)
Leads(s, x) == LeadsIn(s, x, N + 1)

\* direct.go ask: the target's own link or a pooled one; here one connection.
Ask(s, t) ==
    LET u == [s EXCEPT !.q.ask[t] = "sent", !.q.handed = @ \cup {t}]
    IN IF s.node[t].up THEN [u EXCEPT !.pool[t].down = Append(@, "ask")] ELSE u

\* end.go askMissing, for each of a set of targets.
RECURSIVE AskMissing(_, _)
AskMissing(s, targets) ==
    IF targets = {} THEN s
    ELSE LET t == CHOOSE t \in targets : TRUE
             waits == ~Part(s, Root).closed /\ (Leads(s, t) \/ Fault = "no-direct")
         IN AskMissing(
              CASE Given(s, t) \/ waits -> s
                [] s.q.ask[t] = "failed" -> Give(s, t, Unanswered(s, t))
                [] s.q.ask[t] = "none" -> Ask(s, t)
                [] OTHER -> s,
              targets \ {t})

\* end.go askSoon: orphans come first if a link is known to be broken.
AskSoon(s) == IF s.q.cuts # {} THEN [s EXCEPT !.q.direct = TRUE] ELSE AskMissing(s, Others)

\* end.go hasSpread, progressQuestion, brokeNow; question.go adoptedClosed.
QuestionSpread(s) == (\A x \in Others : s.q.adopted[x] # "open") /\ HasSpread(s, Root)
ProgressQuestion(s) ==
    IF s.q.done \/ s.q.spread \/ ~QuestionSpread(s) THEN s
    ELSE AskSoon([s EXCEPT !.q.spread = TRUE])
BrokeNow(s) == IF s.q.spread \/ Part(s, Root).closed THEN [s EXCEPT !.q.direct = TRUE] ELSE s
AdoptedClosed(s) == \A x \in Others : s.q.adopted[x] \in {"no", "final", "broken"}

\* question.go receipt: who reports to us as an orphan has no other parent.
HasReceipt(s, x, parent) ==
    LET u == [s EXCEPT !.q.received = @ \cup {x}]
    IN IF parent = Root \/ s.q.adopted[x] \in {"no", "broken"} THEN [u EXCEPT !.q.parents[x] = parent] ELSE u

RECURSIVE HearAll(_, _)
HearAll(s, news) ==
    IF news = {} THEN s
    ELSE LET i == CHOOSE i \in news : TRUE
             u == CASE i[1] = "receipt" -> HasReceipt(s, i[2], i[3])
                    [] i[1] = "reset" -> [s EXCEPT !.q.cuts = @ \cup {<<i[2], i[3]>>}]
                    [] i[1] = "result" -> VerdictOf(s, i[2], i[3])
         IN HearAll(u, news \ {i})

\* question.go hear: receipts, then testimony, then results.
Hear(s, news) ==
    LET of(kind) == {i \in news : i[1] = kind}
        u == HearAll(HearAll(HearAll(s, of("receipt")), of("reset")), of("result"))
        v == IF of("reset") # {} THEN BrokeNow(u) ELSE u
    IN IF u.q.done THEN u ELSE ProgressQuestion(v)

----------------------------------------------------------------------------
(* A node's part (part.go, echo.go, call.go).                              *)

\* echo.go report, sendUp, withoutResult: to the parent, or as an orphan straight to the caller.
Report(s, x, final) ==
    LET p == Part(s, x)
        told == IF p.again THEN s.node[x].all \cup s.node[x].fresh ELSE s.node[x].fresh
        with == {i[2] : i \in {i \in s.node[x].fresh \cup s.node[x].all : i[1] = "result"}}
        news == IF final THEN {i \in told : i[1] # "receipt" \/ i[2] \notin with} ELSE told
        msg == [type |-> "ECHO", final |-> final, spread |-> HasSpread(s, x), news |-> news]
        u == [s EXCEPT !.node[x].part.again = FALSE, !.node[x].part.told = HasSpread(s, x), !.node[x].fresh = {},
                       !.node[x].all = IF final THEN {} ELSE @ \cup s.node[x].fresh]
    IN IF p.orphan
       THEN IF Fault = "no-adopt" THEN u ELSE ToRoot(u, x, [msg EXCEPT !.type = "ADOPT"])
       ELSE Send(u, p.parent, x, msg)

\* call.go progress, echo.go progressPart
Progress(s, x) ==
    IF ~Open(s, x) THEN s
    ELSE IF x = Root THEN
        IF Resolved(s, x) /\ AdoptedClosed(s)
        THEN LET u == [s EXCEPT !.node[x].part.closed = TRUE]
             IN IF u.q.done THEN u ELSE AskSoon(u)          \* end.go waveClosed
        ELSE ProgressQuestion(s)
    ELSE IF OwesNothing(s, x)
        THEN Report([s EXCEPT !.node[x].part.closed = TRUE], x, TRUE)
        ELSE s

\* call.go finish: the result is recorded, then told to whoever waits for it.
Finish(s, x, r) ==
    LET u == [s EXCEPT !.node[x].exec = "done", !.node[x].res = r, !.node[x].asked = FALSE]
        v == IF s.node[x].asked THEN ToRoot(u, x, [type |-> "ANSWER", res |-> r]) ELSE u
    IN IF x = Root THEN Progress(VerdictOf(v, x, r), x)
       ELSE Progress(IF Open(v, x) THEN [v EXCEPT !.node[x].fresh = @ \cup {Result(x, r)}] ELSE v, x)

\* call.go decide and run. how is the node's choice: "run" or "refuse".
Decide(s, x, how) ==
    IF s.node[x].exec # "none" THEN s
    ELSE IF x \in Excluded /\ Fault # "excluded-runs" THEN [s EXCEPT !.node[x].exec = "relay"]
    ELSE IF how = "refuse" THEN
        LET u == Finish(s, x, "no")
        IN IF Fault = "refusal-forgotten" THEN [u EXCEPT !.node[x].exec = "none", !.node[x].part = NoPart] ELSE u
    ELSE LET u == [s EXCEPT !.node[x].exec = "running", !.node[x].runs = @ + 1]
         IN IF x \in Slow \cup Hung THEN u ELSE Finish(u, x, "yes")

\* part.go forward: CALL goes out on every link that is no parent's and does not drain.
RECURSIVE SendCalls(_, _, _)
SendCalls(s, x, links) ==
    IF links = {} THEN s
    ELSE LET l == CHOOSE l \in links : TRUE
         IN SendCalls(Send(s, l, x, [type |-> "CALL"]), x, links \ {l})
Forward(s, x, except) ==
    LET links == {l \in LinksOf(x) : l # except /\ St(s, l, x) = "up"}
    IN SendCalls([s EXCEPT !.node[x].part.spoke = [l \in links |-> "asked"]], x, links)

\* part.go takePart: TOOK, then CALL, then the handler.
TakePart(s, x, l, how) ==
    LET from == PeerOn(l, x)
        a == [s EXCEPT !.node[x].part = NewPart(l), !.node[x].fresh = {Receipt(x, from)}, !.node[x].all = {}]
        b == Forward(Send(a, l, x, [type |-> "TOOK"]), x, l)
        c == IF b.node[x].exec = "done" THEN [b EXCEPT !.node[x].fresh = @ \cup {Result(x, b.node[x].res)}] ELSE b
    IN Progress(Decide(c, x, how), x)

\* call.go admit and enter: from now on the call counts as seen.
Enter(s, x) == [s EXCEPT !.node[x].seen = (Fault # "no-window"), !.node[x].table = TRUE]

Seen(s, x, l) == IF Fault = "no-seen" THEN s ELSE Send(s, l, x, [type |-> "SEEN"])

----------------------------------------------------------------------------
(* Messages of the wave.                                                   *)

Head_(l, x) == wire[l].q[EndOf(l, x)][1]
Has(l, x, type) ==
    /\ node[x].up /\ St(Now, l, x) \in {"up", "drain"}
    /\ wire[l].q[EndOf(l, x)] # <<>>
    /\ Head_(l, x).type = type
Popped(l, x) == [Now EXCEPT !.wire[l].q[EndOf(l, x)] = Tail(@)]

Choices(x) == {"run"} \cup (IF x \in MayRefuse THEN {"refuse", "full"} ELSE {})

\* part.go receiveCall, receiveCrossing, refuseFull, seen
ReceiveCall(l, x) ==
    LET s == Popped(l, x)
        n == node[x]
        in == n.part.has /\ l \in DOMAIN n.part.spoke
    IN /\ Has(l, x, "CALL")
       /\ \E how \in Choices(x) :
            CASE ~n.table /\ n.seen -> Free(Seen(s, x, l))
              [] ~n.table /\ how = "full" ->
                    Free(Send(Send([s EXCEPT !.node[x].seen = TRUE], l, x, [type |-> "TOOK"]), l, x,
                        [type |-> "ECHO", final |-> TRUE, spread |-> TRUE,
                         news |-> {Result(x, IF Fault = "full-is-yes" THEN "yes" ELSE "no")}]))
              [] ~n.table /\ ~n.seen -> Free(TakePart(Enter(s, x), x, l, how))
              [] n.table /\ n.part.has ->
                    IF in /\ n.part.spoke[l] = "asked"
                    THEN Free(Progress([s EXCEPT !.node[x].part.spoke[l] = "resolved"], x))
                    ELSE Free(Seen(s, x, l))
              [] OTHER -> Free(TakePart(s, x, l, how))

\* part.go receiveTook
ReceiveTook(l, x) ==
    LET s == Popped(l, x)
        p == node[x].part
        u == [s EXCEPT !.node[x].part.spoke[l] = "child"]
    IN /\ Has(l, x, "TOOK")
       /\ IF ~p.has \/ l \notin DOMAIN p.spoke THEN Free(s)
          ELSE IF p.spoke[l] # "asked" THEN Free(s)
          ELSE Free(Progress(IF x = Root THEN HasReceipt(u, PeerOn(l, x), Root) ELSE u, x))

\* part.go receiveSeen
ReceiveSeen(l, x) ==
    LET s == Popped(l, x)
        p == node[x].part
    IN /\ Has(l, x, "SEEN")
       /\ IF ~p.has \/ p.closed \/ l \notin DOMAIN p.spoke THEN Free(s)
          ELSE IF p.spoke[l] # "asked" THEN Free(s)
          ELSE Free(Progress([s EXCEPT !.node[x].part.spoke[l] = "resolved"], x))

\* echo.go receiveEcho, heardFrom, absorb
ReceiveEcho(l, x) ==
    LET s == Popped(l, x)
        m == Head_(l, x)
        p == node[x].part
        in == l \in DOMAIN p.spoke
        a == IF ~in THEN s
             ELSE [s EXCEPT !.node[x].part.spoke[l] = IF m.final THEN "resolved" ELSE IF @ = "asked" THEN "child" ELSE @,
                            !.node[x].part.spread = IF m.spread THEN @ \cup {l} ELSE @]
        b == IF x = Root /\ in THEN (IF p.spoke[l] = "asked" THEN HasReceipt(a, PeerOn(l, x), Root) ELSE a) ELSE a
    IN /\ Has(l, x, "ECHO")
       /\ IF ~p.has THEN Free(s)
          ELSE IF p.closed /\ x # Root THEN Free(s)
          ELSE IF x = Root THEN Free(Progress(Hear(b, m.news), x))
          ELSE Free(Progress([b EXCEPT !.node[x].fresh = @ \cup m.news], x))

\* echo.go flush: PART
Flush(x) ==
    /\ x # Root /\ node[x].up /\ Open(Now, x)
    /\ \/ Flushes /\ node[x].fresh # {}
       \/ node[x].part.told # HasSpread(Now, x)
    /\ Free(Report(Now, x, FALSE))

\* The handler answers (call.go Result).
HandlerDone(x) ==
    /\ node[x].up /\ node[x].exec = "running" /\ x \notin Hung
    /\ Free(Finish(Now, x, "yes"))

----------------------------------------------------------------------------
(* Pooled connections: adoption and direct asks.                           *)

PoolHas(x, type) == pool[x].up # <<>> /\ pool[x].up[1].type = type
PoolPopped(x) == [Now EXCEPT !.pool[x].up = Tail(@)]

\* end.go receiveAdopt. One that comes after the end is answered CANCEL.
ReceiveAdopt(x) ==
    LET s == PoolPopped(x)
        m == pool[x].up[1]
        was == IF q.adopted[x] \in {"no", "broken"} THEN "open" ELSE q.adopted[x]
        is == IF m.final \/ was = "final" THEN "final" ELSE IF m.spread THEN "spread" ELSE was
        a == HasReceipt([s EXCEPT !.q.adopted[x] = is], x, Root)
        b == [a EXCEPT !.q.cuts = @ \ {<<Root, x>>}, !.node[Root].part.closed = @ /\ is = "final"]
    IN /\ PoolHas(x, "ADOPT")
       /\ IF q.done THEN Free(s) ELSE Free(Progress(Hear(b, m.news), Root))

\* answer.go receiveAsk: CALL-OR-RESULT. Every asker is answered.
ReceiveAsk(x) ==
    LET s == [Now EXCEPT !.pool[x].down = Tail(@), !.q.reached = @ \cup {x}]
        n == node[x]
        answer(u, r) == ToRoot(u, x, [type |-> "ANSWER", res |-> r])
        wait(u, how) == Progress(Decide([answer(u, "receipt") EXCEPT !.node[x].asked = TRUE], x, how), x)
    IN /\ n.up /\ pool[x].down # <<>>
       /\ \E how \in Choices(x) :
            CASE ~n.table /\ n.seen -> Free(answer(s, "maybe"))      \* closedCall
              [] ~n.table /\ how = "full" -> Free(answer([s EXCEPT !.node[x].seen = TRUE], "no"))
              [] ~n.table /\ ~n.seen -> Free(wait(Enter(s, x), how))
              [] n.exec = "relay" -> Free(answer(s, "maybe"))
              [] n.exec = "done" -> Free(answer(s, n.res))
              [] OTHER -> Free(wait(s, how))

\* direct.go receiveAnswer
ReceiveAnswer(x) ==
    LET s == PoolPopped(x)
        r == pool[x].up[1].res
    IN /\ PoolHas(x, "ANSWER")
       /\ IF r # "receipt" THEN Free(VerdictOf(s, x, r))
          ELSE IF Given(s, x) THEN Free(s)
          ELSE Free([s EXCEPT !.q.received = @ \cup {x}, !.q.ask[x] = IF @ = "sent" THEN "taken" ELSE @])

\* direct.go questionLinkDown: a link to x is gone, of whatever kind.
QuestionLinkDown(s, x) ==
    LET a == IF s.q.adopted[x] \in {"open", "spread"}
             THEN BrokeNow([s EXCEPT !.q.adopted[x] = "broken", !.q.cuts = @ \cup {<<Root, x>>}])
             ELSE s
        b == IF s.q.ask[x] \in {"sent", "taken"} THEN Ask(a, x) ELSE a
    IN IF s.q.done THEN s ELSE Progress(b, Root)

\* end.go wake, directAt: OrphanWait has gone by. It may at any moment.
DirectPhase ==
    /\ q.direct /\ ~q.done
    /\ Free(AskMissing([Now EXCEPT !.q.direct = FALSE], Others))

\* direct.go askFailed, noWayLeft: every way to a node that is gone has failed.
\* Whether bytes may have left is known; here it may be either where both can be.
AskFailed(t) ==
    /\ ~node[t].up /\ q.ask[t] \in {"sent", "taken"} /\ ~q.done
    /\ \E handed \in (IF t \in q.reached THEN {TRUE} ELSE BOOLEAN) :
        LET s == [Now EXCEPT !.q.ask[t] = "failed", !.q.handed = IF handed THEN @ ELSE @ \ {t}]
        IN IF node[Root].part.closed \/ (q.spread /\ ~Leads(s, t))
           THEN Free(Give(s, t, Unanswered(s, t)))
           ELSE Free(s)

\* end.go MemberChanged: the directory says that a node is down.
MemberDown(t) ==
    /\ ~node[t].up /\ ~Given(Now, t) /\ ~q.done
    /\ Free(Give(Now, t, Unanswered(Now, t)))

\* end.go wake, endAt: the budget is over.
Budget ==
    /\ ~q.done
    /\ LET rest == {t \in Nodes : ~Given(Now, t)}
           v == [t \in Nodes |-> IF t \in rest THEN Unanswered(Now, t) ELSE q.verdict[t]]
       IN Free([Now EXCEPT !.q.verdict = v, !.q.given = [t \in Nodes |-> IF t \in rest THEN @[t] + 1 ELSE @[t]],
                           !.q.done = TRUE])

----------------------------------------------------------------------------
(* Faults.                                                                 *)

Crash(x) ==
    /\ x \in Mortal /\ node[x].up /\ Spend("crash")
    /\ Become([Now EXCEPT
        !.node[x] = [Blank EXCEPT !.up = FALSE, !.runs = node[x].runs],
        !.wire = [l \in Links |-> IF l \in LinksOf(x)
            THEN [wire[l] EXCEPT !.broken = TRUE, !.st[EndOf(l, x)] = "down", !.q[EndOf(l, x)] = <<>>] ELSE wire[l]],
        !.pool[x] = [down |-> <<>>, up |-> <<>>]])

\* The caller notices that the pooled connection to a crashed node is gone.
PoolDown(x) ==
    /\ ~node[x].up /\ q.adopted[x] \in {"open", "spread"}
    /\ Free(QuestionLinkDown(Now, x))

\* A pooled connection to a living node breaks: what is under way is lost, both ends notice.
PoolBreak(x) ==
    /\ node[x].up /\ (pool[x].up # <<>> \/ pool[x].down # <<>>) /\ Spend("pool")
    /\ LET a == [Now EXCEPT !.pool[x] = [down |-> <<>>, up |-> <<>>], !.node[x].asked = FALSE]
           b == IF ~(Open(a, x) /\ Part(a, x).orphan) THEN a
                ELSE Report([a EXCEPT !.node[x].part.again = TRUE], x, FALSE)   \* silence.go partLinkDown
       IN Become(QuestionLinkDown(b, x))

\* A link breaks. What was written before may still arrive, until an end notices.
Break(l) ==
    /\ ~wire[l].broken /\ wire[l].st \notin {<<"new", "new">>}
    /\ IF wire[l].st = <<"drain", "drain">> THEN UNCHANGED left ELSE Spend("break")
    /\ Become([Now EXCEPT !.wire[l].broken = TRUE,
                          !.wire[l].st = [e \in {1, 2} |-> IF @[e] = "new" THEN "down" ELSE @[e]]])

\* wave.go LinkDown; silence.go callLinkDown, partLinkDown; end.go spokeBroke.
LinkDown(l, x) ==
    LET who == PeerOn(l, x)
        s == [Now EXCEPT !.wire[l].st[EndOf(l, x)] = "down", !.wire[l].q[EndOf(l, x)] = <<>>]
        p == node[x].part
        owed == IF p.has THEN l \in DOMAIN p.spoke /\ ~p.closed ELSE FALSE
        unresolved == IF owed THEN p.spoke[l] # "resolved" ELSE FALSE
        a == [s EXCEPT !.node[x].part.spoke[l] = "resolved"]
        b == IF ~unresolved \/ Fault = "break-not-resolved" THEN s
             ELSE IF x # Root THEN [a EXCEPT !.node[x].fresh = @ \cup {Reset(x, who)}]
             ELSE IF q.done THEN a
             ELSE BrokeNow([a EXCEPT !.q.cuts = @ \cup {<<Root, who>>}])
        orphaned == IF p.has THEN x # Root /\ ~p.closed /\ (p.parent = l \/ (p.orphan /\ who = Root)) ELSE FALSE
        c == [b EXCEPT !.node[x].part.orphan = TRUE, !.node[x].part.again = TRUE]
        d == IF ~orphaned THEN b ELSE IF OwesNothing(c, x) THEN c ELSE Report(c, x, FALSE)
        f == Progress(d, x)
    IN /\ node[x].up /\ wire[l].broken /\ St(Now, l, x) \in {"up", "drain"}
       /\ Free(IF x = Root THEN QuestionLinkDown(f, who) ELSE f)

\* wave.go NeighborUp, NeighborDraining: each end in its own time.
NeighborUp(l, x) ==
    /\ node[x].up /\ St(Now, l, x) = "new" /\ ~wire[l].broken
    /\ Free([Now EXCEPT !.wire[l].st[EndOf(l, x)] = "up"])
NeighborDraining(l, x) ==
    /\ node[x].up /\ St(Now, l, x) = "up" /\ ~wire[l].broken
    /\ IF St(Now, l, PeerOn(l, x)) = "drain" THEN UNCHANGED left ELSE Spend("drain")
    /\ Become([Now EXCEPT !.wire[l].st[EndOf(l, x)] = "drain"])

\* silence.go lookForQuiet, end.go askUnheard: somebody is silent, or merely slow.
RECURSIVE AskAll(_, _)
AskAll(s, targets) ==
    IF targets = {} THEN s
    ELSE LET t == CHOOSE t \in targets : TRUE IN AskAll(Ask(s, t), targets \ {t})
Silence ==
    /\ Open(Now, Root) /\ ~q.done /\ Spend("silence")
    /\ Become(AskAll(Now, {t \in Others : ~Given(Now, t) /\ t \notin q.received /\ q.ask[t] = "none"}))

\* direct.go wakeAsks, nextWay: no receipt in time, another copy goes out.
AnotherCopy(t) ==
    /\ q.ask[t] = "sent" /\ ~q.done /\ Spend("copy")
    /\ Become(Ask(Now, t))

\* cancel.go makeRoom, forgetCall: a finished call leaves the table; the window remembers it.
Forget(x) ==
    /\ x # Root /\ node[x].up /\ node[x].table /\ Settled(Now, x) /\ ~Open(Now, x) /\ Spend("forget")
    /\ Become([Now EXCEPT !.node[x] = [Blank EXCEPT !.seen = node[x].seen, !.runs = node[x].runs]])

\* echo.go closeLate: the budget is over at a relay, which was given less of it than its parent.
CloseLate(x) ==
    /\ x # Root /\ node[x].up /\ Open(Now, x) /\ Spend("late")
    /\ Become(Report([Now EXCEPT !.node[x].part.closed = TRUE], x, TRUE))

----------------------------------------------------------------------------
\* question.go Start, startWave, exclude; then openRound.
Start ==
    LET verdict == [t \in Nodes |-> IF t \in Excluded THEN "no" ELSE "none"]
        w == [l \in Links |-> [st |-> IF l \in Spare THEN <<"new", "new">> ELSE <<"up", "up">>,
                               broken |-> FALSE, q |-> <<<<>>, <<>>>>]]
        s == [node |-> [x \in Nodes |-> Blank], wire |-> w,
              pool |-> [x \in Nodes |-> [down |-> <<>>, up |-> <<>>]],
              q |-> [verdict |-> verdict, given |-> [t \in Nodes |-> IF t \in Excluded THEN 1 ELSE 0],
                     received |-> {}, handed |-> {}, reached |-> {}, relayed |-> FALSE,
                     parents |-> [x \in Nodes |-> -1], cuts |-> {}, adopted |-> [x \in Nodes |-> "no"],
                     ask |-> [t \in Nodes |-> "none"], spread |-> FALSE, direct |-> FALSE, done |-> FALSE]]
        a == Forward([Enter(s, Root) EXCEPT !.node[Root].part = NewPart(0)], Root, 0)
        b == [a EXCEPT !.q.relayed = DOMAIN Part(a, Root).spoke # {}]
    IN Progress(Decide(b, Root, "run"), Root)

Init ==
    /\ node = Start.node /\ wire = Start.wire /\ pool = Start.pool /\ q = Start.q
    /\ left = [crash |-> Crashes, break |-> Breaks, drain |-> Drains, pool |-> PoolBreaks, silence |-> Silences,
               copy |-> Copies, forget |-> Forgets, late |-> Lates]

\* What the protocol does by itself, without faults, impatience and the budget.
Step ==
    \/ \E l \in Links : \E x \in {Ends[l][1], Ends[l][2]} :
        ReceiveCall(l, x) \/ ReceiveTook(l, x) \/ ReceiveSeen(l, x) \/ ReceiveEcho(l, x) \/ LinkDown(l, x)
    \/ \E x \in Nodes : Flush(x) \/ HandlerDone(x)
    \/ \E x \in Others : ReceiveAdopt(x) \/ ReceiveAsk(x) \/ ReceiveAnswer(x) \/ PoolDown(x) \/ AskFailed(x)
    \/ DirectPhase
    \/ \E l \in Links : \E x \in {Ends[l][1], Ends[l][2]} : NeighborUp(l, x) /\ St(Now, l, PeerOn(l, x)) # "new"

Next ==
    \/ Step
    \/ \E l \in Links : \/ Break(l)
                        \/ \E x \in {Ends[l][1], Ends[l][2]} : NeighborUp(l, x) \/ NeighborDraining(l, x)
    \/ \E x \in Others : Crash(x) \/ PoolBreak(x) \/ AnotherCopy(x) \/ Forget(x) \/ CloseLate(x) \/ MemberDown(x)
    \/ Silence
    \/ Budget

Spec == Init /\ [][Next]_vars

----------------------------------------------------------------------------
(* What must hold.                                                         *)

\* M1: nobody gets two verdicts; who is asked has one when the call is done.
M1_OneVerdictEach ==
    /\ \A t \in Nodes : q.given[t] <= 1
    /\ q.done => \A t \in Nodes : q.given[t] = 1

\* M3: "executed: no" is said of nobody who ran, before or after.
M3_NoIsTrue == \A t \in Nodes : q.verdict[t] = "no" => node[t].runs = 0
M3_YesIsTrue == \A t \in Nodes : q.verdict[t] = "yes" => node[t].runs >= 1

\* M4: no node runs the call twice.
M4_AtMostOneRun == \A t \in Nodes : node[t].runs <= 1

\* Nothing can happen any more but faults, impatience, and the end of the budget:
\* no Step is enabled. (~ENABLED Step says the same and costs six times as much.)
Stuck ==
    /\ \A l \in Links : \A x \in {Ends[l][1], Ends[l][2]} :
        node[x].up => /\ St(Now, l, x) \in {"up", "drain"} => wire[l].q[EndOf(l, x)] = <<>> /\ ~wire[l].broken
                      /\ St(Now, l, x) = "new" => wire[l].broken \/ St(Now, l, PeerOn(l, x)) = "new"
    /\ \A x \in Nodes : node[x].up => node[x].exec # "running" \/ x \in Hung
    /\ \A x \in Others :
        /\ pool[x].up = <<>>
        /\ IF node[x].up
           THEN /\ pool[x].down = <<>>
                /\ Open(Now, x) => /\ node[x].part.told = HasSpread(Now, x)
                                   /\ node[x].fresh = {} \/ ~(Flushes \/ HasSpread(Now, x))
           ELSE q.adopted[x] \notin {"open", "spread"} /\ (q.ask[x] \in {"sent", "taken"} => q.done)
    /\ q.direct => q.done

\* M2: a call does not need the end of its budget: where it is stuck, every
\* target has its verdict, except those whose handler hangs.
M2_EndsByItself == Stuck => \A t \in Nodes \ Hung : q.verdict[t] # "none"
=============================================================================
