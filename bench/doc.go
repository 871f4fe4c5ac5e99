// Command bench measures Starling with real processes on this machine, and hashicorp/serf beside it in the same run. It
// prints figures and says which of those expected were missed; it never fails because something was slow.
//
// Every sidecar is a process, and so is the small application on each sidecar's socket; the caller is this program, on the
// first sidecar's socket. A node of serf is a process that is library and application in one, which spares serf the hop
// over a socket that Starling is measured with.
package main
