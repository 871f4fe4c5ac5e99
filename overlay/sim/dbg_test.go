package sim
import ("testing";"fmt")
func TestDbg(t *testing.T) {
	y := Draw(*seedFlag, *nodesFlag)
	w := y.Play(nil)
	fmt.Println(w.Failed())
	for _, n := range w.Up() { 
		fmt.Print(n, " leaving ", n.leaving, " comp ", n.core.Roster().Component.Short(), " active:")
		for _, id := range n.core.Active() { o, _ := w.checks.byID.Get(id);  fmt.Print(" ", o) }
		fmt.Print(" knows:")
		for _, m := range n.core.Roster().Members { o, _ := w.checks.byID.Get(m.Entry.ID);  fmt.Print(" ", o, "=", m.Status, o.state) }
		fmt.Println()
	}
}
