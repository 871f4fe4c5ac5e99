// Command app is what the pods of the tests run beside their sidecars. The first argument says what it is.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	pause()
}

// pause holds a pod's namespaces until it is told to end.
func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
