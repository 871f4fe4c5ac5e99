// Package weather draws worlds from seeds: how large a cluster is, how its network is, which kinds of faults there are, how
// often each strikes, what discovery says (swarm testing: most seeds leave most things out, so that what is left has room).
// A storm strikes a simulated world all along while every invariant is watched; then it ends for a part of the nodes, the
// rest stays broken for ever, and that part must be one cluster again, and stay so. A plan that fails is made smaller:
// fewer nodes, fewer strikes.
//
// It never looks inside a machine, and keeps no state beyond a world: the same plan tells the same story.
package weather
