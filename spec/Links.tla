------------------------------- MODULE Links -------------------------------
(***************************************************************************)
(* How two nodes agree that they hold a link: request and answer on the    *)
(* connection itself, dials from both ends at once, evictions, breaks.     *)
(* This is overlay/hyparview as it is; each action names the functions     *)
(* that it models. README.md says what is left out, and why.               *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    N,          \* nodes 1..N; the number is the order of the IDs
    Slots,      \* connections that can exist at once
    Active,     \* Config.Active: how many members a view may have
    Contacts,   \* TRUE: dials of an address, where who answers is not known
    Splits,     \* TRUE: full nodes dial too, and evict if they are accepted
    High,       \* TRUE: requests may have high priority
    Timeouts,   \* TRUE: requests and idle links may time out
    Punctual,   \* TRUE: what crosses arrives in the time that dialledLately gives it
    Breaks,     \* how many breaks; each may hit any connection at any moment
    Fault       \* "none", or the fault that is planted

VARIABLES
    conn,       \* slot -> connection, or Free
    active,     \* node -> peer -> slot of the member's link, or None: Views.active
    breaks      \* breaks so far

vars == <<conn, active, breaks>>

Nodes == 1..N
None == "none"
Free == [free |-> TRUE]
Symmetry == Permutations(Slots)

(***************************************************************************)
(* A connection. End 1 dialled, end 2 accepted. st is the state that each  *)
(* side's Views give its link (links.go, type state):                      *)
(*   new       end 1: dial under way; end 2: LinkUp not told yet           *)
(*   idle      accepted, the other side has not asked yet                  *)
(*   asked     our request waits for its answer                            *)
(*   active, draining                                                      *)
(*   closed    hung up or LinkDown told: stateClosing takes nothing either *)
(* q[e] is what is on its way to end e. "fin" is the end of a connection   *)
(* that was flushed; "rst" of one that was not: it overtakes.              *)
(***************************************************************************)
Free_(k) == "free" \in DOMAIN conn[k]
Used(s) == {k \in Slots : "free" \notin DOMAIN s.conn[k]}
Other(e) == 3 - e
Node(s, k, e) == s.conn[k].who[e]
Peer(s, k, e) == s.conn[k].who[Other(e)]
State(s, k, e) == s.conn[k].st[e]

\* The ends of n with a link to p in one of the states: <<slot, end>>.
Ends(s, n, p, states) ==
    {x \in Used(s) \X {1, 2} :
        /\ Node(s, x[1], x[2]) = n
        /\ Peer(s, x[1], x[2]) = p
        /\ State(s, x[1], x[2]) \in states}
AllEnds(s, n, states) == UNION {Ends(s, n, p, states) : p \in Nodes}

Set(s, k, e, state) == [s EXCEPT !.conn[k].st[e] = state]

Send(s, k, e, msg) ==
    IF s.conn[k].broken \/ State(s, k, Other(e)) = "closed" THEN s
    ELSE [s EXCEPT !.conn[k].q[Other(e)] = Append(@, msg)]

\* links.go hangup. What is on its way to us is of no interest any more.
Hangup(s, k, e, flush) ==
    LET t == Send(s, k, e, [type |-> IF flush THEN "fin" ELSE "rst"])
    IN [t EXCEPT !.conn[k].st[e] = "closed", !.conn[k].q[e] = <<>>]

\* A connection that neither side knows is over.
Tidy(s) ==
    [s EXCEPT !.conn = [k \in Slots |->
        IF "free" \in DOMAIN s.conn[k] THEN Free
        ELSE IF s.conn[k].st = <<"closed", "closed">> THEN Free
        ELSE IF s.conn[k].broken /\ s.conn[k].st = <<"closed", "new">> THEN Free
        ELSE [s.conn[k] EXCEPT !.fresh = @ /\ s.conn[k].st[1] = "active"]]]

Now == [conn |-> conn, active |-> active]
Become(s) == LET t == Tidy(s) IN conn' = t.conn /\ active' = t.active

Members(s, n) == {p \in Nodes : s.active[n][p] # None}
Full(s, n) == Cardinality(Members(s, n)) >= Active

(* ask.go withdraw: a request is taken back *)
Withdraw(s, k, e) == Hangup(Send(s, k, e, [type |-> "bye"]), k, e, TRUE)

(* links.go replace: the peer has a newer link *)
Replace(s, k, e) ==
    LET n == Node(s, k, e)
        p == Peer(s, k, e)
        t == IF State(s, k, e) = "active" THEN [s EXCEPT !.active[n][p] = None] ELSE s
    IN Hangup(t, k, e, FALSE)

\* One of these for each of a set of ends.
RECURSIVE Each(_, _, _)
Each(s, ends, what) ==
    IF ends = {} THEN s
    ELSE LET x == CHOOSE x \in ends : TRUE
             t == CASE what = "hang up" -> Hangup(s, x[1], x[2], FALSE)
                    [] what = "withdraw" -> Withdraw(s, x[1], x[2])
                    [] what = "replace" -> Replace(s, x[1], x[2])
         IN Each(t, ends \ {x}, what)

----------------------------------------------------------------------------
(* Requests under way (ask.go).                                            *)

\* pending: dials and requests of n; with a contact it is not known of whom.
Pending(s, n) == {x \in AllEnds(s, n, {"new", "asked"}) : x[2] = 1}
NeedsRoom(s, x) == s.conn[x[1]].for \in {"neighbor", "contact"}
Wants(s, n) ==
    Active - Cardinality(Members(s, n))
           - Cardinality({x \in Pending(s, n) : NeedsRoom(s, x)})
\* A contact's peer is known once the link is up.
AskingPeer(s, x) ==
    IF s.conn[x[1]].for = "contact" /\ State(s, x[1], 1) = "new" THEN 0
    ELSE Peer(s, x[1], 1)
Asking(s, n, p) == \E x \in Pending(s, n) : AskingPeer(s, x) = p

(* links.go demote: a member is taken out, its link drains *)
Demote(s, k, e) ==
    LET n == Node(s, k, e)
        p == Peer(s, k, e)
        t == [s EXCEPT !.active[n][p] = None, !.conn[k].st[e] = "draining"]
    IN IF Fault = "evict-silently" THEN Set(t, k, e, "closed") ELSE Send(t, k, e, [type |-> "bye"])

(* links.go enter: the link's peer is a member now *)
Enter(s, k, e) ==
    LET n == Node(s, k, e)
        p == Peer(s, k, e)
        drained == IF Fault = "no-end-drain" THEN s ELSE Each(s, Ends(s, n, p, {"draining"}), "replace")
        t == [drained EXCEPT !.active[n][p] = k, !.conn[k].st[e] = "active", !.conn[k].fresh = (e = 1)]
        late == {x \in AllEnds(t, n, {"asked"}) : NeedsRoom(t, x)}
    IN IF Full(t, n) THEN Each(t, late, "withdraw") ELSE t

\* links.go victim: the members that may be evicted for p.
Victims(s, n, p) == {<<s.active[n][v], e>> : v \in Members(s, n) \ {p}, e \in {1, 2}}
                        \cap AllEnds(s, n, {"active"})

----------------------------------------------------------------------------
(* Dials.                                                                  *)

Record(n, p, for) ==
    [who |-> <<n, p>>, st |-> <<"new", "new">>, q |-> <<<<>>, <<>>>>, broken |-> FALSE, fresh |-> FALSE, for |-> for]

(* ask.go dial, called by refill, dialContacts and forwardJoin. Whom to ask *)
(* and when is left open: cool-downs only make it rarer.                    *)
Dial(n, p, for) ==
    /\ n # p
    /\ CASE for = "neighbor" -> Wants(Now, n) > 0 /\ active[n][p] = None /\ ~Asking(Now, n, p)
         [] for = "contact"  -> Contacts /\ Wants(Now, n) > 0
         [] for = "split"    -> /\ Splits /\ Full(Now, n) /\ active[n][p] = None /\ ~Asking(Now, n, p)
                                /\ \A x \in Pending(Now, n) : conn[x[1]].for # "split"
    /\ \E k \in Slots :
        /\ Free_(k)
        /\ Become([Now EXCEPT !.conn[k] = Record(n, p, for)])
    /\ UNCHANGED breaks

(* ask.go DialFailed: the other side may have seen the connection *)
DialFailed(k) ==
    /\ Timeouts /\ conn[k].st[1] = "new"
    /\ Become([Now EXCEPT !.conn[k].st[1] = "closed", !.conn[k].broken = TRUE, !.conn[k].q = <<<<>>, <<>>>>])
    /\ UNCHANGED breaks

(* ask.go dialled and tooLate *)
Dialled(k) ==
    LET n == conn[k].who[1]
        p == conn[k].who[2]
        again == \E x \in Pending(Now, n) \ {<<k, 1>>} : AskingPeer(Now, x) = p
        late == \/ active[n][p] # None
                \/ again
                \/ NeedsRoom(Now, <<k, 1>>) /\ Full(Now, n)
    IN /\ conn[k].st[1] = "new" /\ ~conn[k].broken
       /\ \E high \in (IF High /\ Cardinality(Members(Now, n)) <= 1 THEN BOOLEAN ELSE {FALSE}) :
            IF late THEN Become(Hangup(Now, k, 1, FALSE))
            ELSE Become(Send(Set(Now, k, 1, "asked"), k, 1, [type |-> "req", high |-> high]))
       /\ UNCHANGED breaks

(* links.go accepted *)
Accepted(k) ==
    /\ conn[k].st[2] = "new" /\ ~conn[k].broken
    /\ Become(Set(Now, k, 2, "idle"))
    /\ UNCHANGED breaks

----------------------------------------------------------------------------
(* Messages. Head takes the first one for an end.                          *)

Head_(k, e) == conn[k].q[e][1]
HasMsg(k, e, type) ==
    /\ conn[k].st[e] \notin {"new", "closed"}
    /\ conn[k].q[e] # <<>>
    /\ Head_(k, e).type = type
Popped(k, e) == [Now EXCEPT !.conn[k].q[e] = Tail(@)]

Refuse(s, k, e) == Hangup(Send(s, k, e, [type |-> "refuse"]), k, e, TRUE)

(* answer.go dialledLately: fresh is the time in which requests may cross *)
DialledLately(s, n, p) ==
    \E x \in Ends(s, n, p, {"asked", "active"}) :
        x[2] = 1 /\ (State(s, x[1], 1) = "asked" \/ s.conn[x[1]].fresh)

(* answer.go request, mustRefuse, cancelDialTo, makeRoom *)
Request(k) ==
    LET e == 2
        n == conn[k].who[2]
        p == conn[k].who[1]
        s == Popped(k, e)
        msg == Head_(k, e)
        cancelled == IF Fault = "no-cancel-dial" THEN s ELSE Each(s, Ends(s, n, p, {"asked"}), "hang up")
        replaced == Each(cancelled, Ends(cancelled, n, p, {"active"}), "replace")
        yes(t) == Enter(Send(t, k, e, [type |-> "accept"]), k, e)
    IN /\ HasMsg(k, e, "req")
       /\ CASE conn[k].st[e] # "idle" -> Become(s)   \* views_request_again
            [] n < p /\ DialledLately(s, n, p) /\ Fault # "no-tie" -> Become(Refuse(s, k, e))
            [] OTHER ->
                IF ~Full(replaced, n) \/ Fault = "no-bound" THEN Become(yes(replaced))
                ELSE IF msg.high /\ Victims(replaced, n, p) # {}
                     THEN \E v \in Victims(replaced, n, p) : Become(yes(Demote(replaced, v[1], v[2])))
                     ELSE Become(IF Fault = "no-answer" THEN replaced ELSE Refuse(replaced, k, e))
       /\ UNCHANGED breaks

(* ask.go accept *)
Accept(k) ==
    LET e == 1
        n == conn[k].who[1]
        p == conn[k].who[2]
        s == Popped(k, e)
    IN /\ HasMsg(k, e, "accept")
       /\ CASE conn[k].st[e] # "asked" -> Become(s)  \* views_accept_unasked
            [] ~Full(s, n) -> Become(Enter(s, k, e))
            [] OTHER ->
                IF conn[k].for = "split" /\ Victims(s, n, p) # {}
                THEN \E v \in Victims(s, n, p) : Become(Enter(Demote(s, v[1], v[2]), k, e))
                ELSE Become(Withdraw(s, k, e))
       /\ UNCHANGED breaks

(* ask.go refused *)
Refused(k) ==
    /\ HasMsg(k, 1, "refuse")
    /\ Become(IF conn[k].st[1] = "asked" THEN Hangup(Popped(k, 1), k, 1, FALSE) ELSE Popped(k, 1))
    /\ UNCHANGED breaks

(* links.go bye *)
Bye(k, e) ==
    LET s == Popped(k, e)
        n == Node(s, k, e)
        p == Peer(s, k, e)
    IN /\ HasMsg(k, e, "bye")
       /\ CASE State(s, k, e) \in {"idle", "asked"} -> Become(Hangup(s, k, e, FALSE))
            [] State(s, k, e) = "active" ->
                Become([s EXCEPT !.active[n][p] = None, !.conn[k].st[e] = "draining"])
            [] OTHER -> Become(s)
       /\ UNCHANGED breaks

----------------------------------------------------------------------------
(* Ends.                                                                   *)

Over(k, e) ==
    \/ conn[k].broken
    \/ \E i \in 1..Len(conn[k].q[e]) : conn[k].q[e][i].type = "rst"
    \/ conn[k].q[e] # <<>> /\ Head_(k, e).type = "fin"

(* links.go LinkDown. The member goes only if this is its link (H7): the   *)
(* fault takes whoever is at the other end.                                *)
LinkDown(k, e) ==
    LET n == conn[k].who[e]
        p == conn[k].who[Other(e)]
        s == [Set(Now, k, e, "closed") EXCEPT !.conn[k].q[e] = <<>>]
        t == [s EXCEPT !.active[n][p] = None]
    IN /\ conn[k].st[e] \notin {"new", "closed"} /\ Over(k, e)
       /\ CASE Fault = "keep-after-down" -> Become(s)
            [] Fault = "down-by-peer" -> Become(t)
            [] conn[k].st[e] = "active" -> Become(t)
            [] OTHER -> Become(s)
       /\ UNCHANGED breaks

(* links.go expire *)
Expire(k, e) ==
    /\ Become(CASE conn[k].st[e] = "idle" -> Hangup(Now, k, e, FALSE)
                [] conn[k].st[e] = "asked" -> Withdraw(Now, k, e)
                [] conn[k].st[e] = "draining" -> Hangup(Now, k, e, TRUE)
                [] OTHER -> Now)
    /\ conn[k].st[e] \in (IF Timeouts THEN {"idle", "asked", "draining"} ELSE {"draining"})
    /\ UNCHANGED breaks

(* answer.go dialledLately: DialTimeout + RequestTimeout have gone by. That *)
(* may happen at any moment, so safety rests on no clock; only that a dial  *)
(* from both ends leaves a link needs a network that is Punctual.           *)
Age(k) ==
    /\ conn[k].fresh
    /\ ~Punctual \/ \A x \in Ends(Now, conn[k].who[1], conn[k].who[2], {"new", "idle"}) : x[2] = 1
    /\ Become([Now EXCEPT !.conn[k].fresh = FALSE])
    /\ UNCHANGED breaks

(* The network: what is under way is lost, each end is told when it is told *)
Break(k) ==
    /\ breaks < Breaks /\ ~conn[k].broken
    /\ breaks' = breaks + 1
    /\ Become([Now EXCEPT !.conn[k].broken = TRUE, !.conn[k].q = <<<<>>, <<>>>>,
                          !.conn[k].st[1] = IF @ = "new" THEN "closed" ELSE @])

----------------------------------------------------------------------------
Init ==
    /\ conn = [k \in Slots |-> Free]
    /\ active = [n \in Nodes |-> [p \in Nodes |-> None]]
    /\ breaks = 0

Next ==
    \/ \E n, p \in Nodes : \E for \in {"neighbor", "contact", "split"} : Dial(n, p, for)
    \/ \E k \in {k \in Slots : ~Free_(k)} :
        \/ DialFailed(k) \/ Dialled(k) \/ Accepted(k)
        \/ Request(k) \/ Accept(k) \/ Refused(k)
        \/ Age(k) \/ Break(k)
        \/ \E e \in {1, 2} : Bye(k, e) \/ LinkDown(k, e) \/ Expire(k, e)

Spec == Init /\ [][Next]_vars

----------------------------------------------------------------------------
(* What must hold.                                                         *)

\* H2: the active view is within its bound.
H2_ViewsAreBounded == \A n \in Nodes : Cardinality(Members(Now, n)) <= Active

\* H3: a member has exactly one active link, and an active link its member.
H3_OneLinkEach ==
    \A n \in Nodes : \A p \in Nodes :
        LET links == Ends(Now, n, p, {"active"})
        IN /\ Cardinality(links) = (IF active[n][p] = None THEN 0 ELSE 1)
           /\ \A x \in links : x[1] = active[n][p]

\* Nobody ever sees two neighbours of one ID, one of them draining.
OneNeighborEach ==
    \A n \in Nodes : \A p \in Nodes : Cardinality(Ends(Now, n, p, {"active", "draining"})) <= 1

\* ask.go accept: "a member is not asked".
NoMemberIsAsked ==
    \A n \in Nodes : \A p \in Members(Now, n) : Ends(Now, n, p, {"asked"}) = {}

\* Who asked over a connection that stands is going to be answered.
EveryRequestIsAnswered ==
    \A k \in Used(Now) :
        conn[k].st[1] = "asked" /\ ~conn[k].broken =>
            \/ conn[k].q[1] # <<>>
            \/ \E i \in 1..Len(conn[k].q[2]) : conn[k].q[2][i].type = "req"

\* Nothing under way, and every break noticed.
Quiet ==
    \A k \in Used(Now) : \A e \in {1, 2} :
        /\ conn[k].st[e] \notin {"new", "asked"}
        /\ conn[k].q[e] = <<>>
        /\ ~conn[k].broken \/ conn[k].st[e] = "closed"

\* H9: at rest links are symmetric: both ends are members over one connection.
H9_LinksAreSymmetric ==
    Quiet => \A n \in Nodes : \A p \in Nodes : active[n][p] = active[p][n]

\* H7: news of a link that is not the current one changes nothing.
H7_OldNewsChangesNothing ==
    [][\A n \in Nodes : \A p \in Nodes :
        active[n][p] # None /\ active'[n][p] # active[n][p] =>
            \* its own link has left the state that made it a member
            LET k == active[n][p]
                gone == "free" \in DOMAIN conn'[k]
            IN gone \/ \E e \in {1, 2} : conn[k].who[e] = n /\ conn[k].st[e] = "active" /\ conn'[k].st[e] # "active"]_vars

\* Two nodes with room that have dialled, however at once, keep a connection.
\* Only for models without timeouts and breaks, in which nobody is full.
AfterADialThereIsALink ==
    [][\A n \in Nodes : \A p \in Nodes :
        \* the last connection between them ends only where one stays
        LET had == {k \in Used(Now) : {conn[k].who[1], conn[k].who[2]} = {n, p}}
            has == {k \in Slots : "free" \notin DOMAIN conn'[k] /\ {conn'[k].who[1], conn'[k].who[2]} = {n, p}}
        IN had # {} => has # {}]_vars
=============================================================================
