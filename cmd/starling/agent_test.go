package main

import (
	"os"
	"runtime"
	"testing"
)

func TestCoresAreTheConfigurationsUnlessTheEnvironmentSaysSo(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(5))
	t.Setenv("GOMAXPROCS", "5") // so that it is put back
	useCores(3)
	if n := runtime.GOMAXPROCS(0); n != 5 {
		t.Errorf("%d cores; want the environment's 5", n)
	}
	_ = os.Unsetenv("GOMAXPROCS")
	useCores(0)
	if n := runtime.GOMAXPROCS(0); n != 5 {
		t.Errorf("%d cores; want as many as before", n)
	}
	useCores(3)
	if n := runtime.GOMAXPROCS(0); n != 3 {
		t.Errorf("%d cores; want 3", n)
	}
}
