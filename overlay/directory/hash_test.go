package directory

import (
	"reflect"
	"testing"

	"github.com/starlingmesh/starling/overlay/proto"
)

// What is compared and what is hashed must grow with the entry: of a field that is left out no change would ever spread.
func TestNoFieldOfAnEntryIsLeftOutWhereEntriesAreCompared(t *testing.T) {
	base := proto.Entry{ID: idOf(1), Name: "a", Birth: 5, Incarnation: 6}
	typ := reflect.TypeFor[proto.Entry]()
	for i := range typ.NumField() {
		other := base
		switch f := reflect.ValueOf(&other).Elem().Field(i); f.Kind() {
		case reflect.Array:
			f.Index(0).SetUint(f.Index(0).Uint() ^ 1)
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint(f.Uint() + 1)
		default:
			t.Fatalf("%s: this test does not know how to change a %v", typ.Field(i).Name, f.Kind())
		}
		if base.Equal(&other) || other.Equal(&base) {
			t.Errorf("Equal does not look at %s", typ.Field(i).Name)
		}
		if hashEntry(&base) == hashEntry(&other) {
			t.Errorf("hashEntry does not look at %s", typ.Field(i).Name)
		}
	}
	if same := base; !base.Equal(&same) {
		t.Error("a copy is not equal")
	}
}
