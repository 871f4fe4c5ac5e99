package rpc

// VerdictExplanation tells people about a verdict: the word for what became of a call at one node.
type VerdictExplanation struct {
	Verdict  string // as it is written in tables and scripts
	Means    string
	Executed string // whether the handler ran
	Do       string
}

// ExplainedVerdicts lists all verdicts, the good ones first.
func ExplainedVerdicts() []VerdictExplanation {
	return []VerdictExplanation{
		{"replied", "The handler answered.", "yes", "Nothing: this is how it should be."},
		{"delivered", "An abcast arrived as far as it was to be confirmed.", "yes if a handler was to confirm, else maybe", "Nothing: this is how it should be."},
		{"app_error", "The handler returned an error; its text is the reason.", "yes", "Ask the application: the call itself went well."},
		{"result_lost", "The handler answered, but the answer was dropped before it could be fetched.", "yes", "Ask again only if asking twice does no harm; smaller answers, or more api.answer_bytes."},
		{"no_handler", "No application at that node serves the method.", "no", "Is one connected there (`starling members` shows handlers), and is the method spelt right? --serving asks only those that serve it."},
		{"overloaded", "A bound of that sidecar or its application was met.", "no", "Ask again later, more slowly; the reason names the bound."},
		{"rejected", "That node refused by its own word: it drains, was not selected, it came too late or too large.", "no", "The reason says which; asking again is safe."},
		{"handler_gone", "The application there died or hung up while it had the request.", "maybe", "Look at that application's end. Ask again only if asking twice does no harm."},
		{"timed_out", "That node gave a sign of life, but no answer in time.", "no if it was still queued and is cancelled, else maybe", "Allow more time (--timeout), or find out why the handler is slow; the stage tells how far it came."},
		{"lost", "That node had the request, then went down or came back as a new process.", "maybe", "Ask again only if asking twice does no harm."},
		{"down", "That node was down before or during the call.", "no if it was down at the start, else maybe", "`starling members --why NAME` tells who found it dead."},
		{"left", "That node left the cluster while the call ran.", "no by its own word, else maybe", "Ask somebody else; it said goodbye."},
		{"unreachable", "There was nothing but silence: no receipt came.", "no if nothing was sent, else maybe", "Is the network open in both directions? `starling ping` and `starling members --why NAME` tell more."},
		{"abandoned", "The caller had enough answers, or cancelled.", "maybe", "Nothing: the caller wanted it so (--min-replies)."},
		{"not_attempted", "A local bound or the deadline came before a byte was sent.", "no", "Ask again; more time (--timeout), or fewer calls at once."},
	}
}
