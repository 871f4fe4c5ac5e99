package explore

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"
)

// Sum names a state: 128 bits of hash, so that two states of a search never
// share one by chance.
type Sum [2]uint64

// Dump gathers a state as bytes. Values are walked to the bottom, unexported
// fields too: what a machine keeps belongs to its state whether or not the
// world knows of it. A time counts by how far it is from now, so that states
// that differ by the clock alone are one.
type Dump struct {
	now   time.Time
	buf   []byte
	known map[uintptr]uint64 // pointers met, in the order they were met
	skip  map[reflect.Type]bool
}

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

var (
	timeType = reflect.TypeFor[time.Time]()
	randType = reflect.TypeFor[*rand.Rand]()
)

// SumOf is the hash of a world's state.
func SumOf(w World) Sum {
	d := &Dump{known: map[uintptr]uint64{}, skip: map[reflect.Type]bool{}}
	w.Dump(d)
	return Sum{maphash.Bytes(seeds[0], d.buf), maphash.Bytes(seeds[1], d.buf)}
}

// At sets the time that all times count from.
func (d *Dump) At(now time.Time) { d.now = now }

// Skip leaves out all values of the type of example: configuration, or what
// only counts.
func (d *Dump) Skip(example any) { d.skip[reflect.TypeOf(example)] = true }

// Add writes a value and all that hangs on it. Sources of chance and functions
// are left out: a world that is explored must have none that matter.
func (d *Dump) Add(values ...any) {
	for _, v := range values {
		d.value(reflect.ValueOf(v))
	}
}

func (d *Dump) number(n uint64) { d.buf = binary.AppendUvarint(d.buf, n) }

func (d *Dump) value(v reflect.Value) {
	if !v.IsValid() {
		d.number(0)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		d.number(b2u(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.number(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		d.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		d.number(math.Float64bits(v.Float()))
	case reflect.String:
		d.number(uint64(v.Len()))
		d.buf = append(d.buf, v.String()...)
	case reflect.Array:
		if v.IsZero() { // most of what has room for sixteen streams
			d.number(0)
			return
		}
		d.list(v)
	case reflect.Slice:
		d.list(v)
	case reflect.Map:
		d.table(v)
	case reflect.Struct:
		d.record(v)
	case reflect.Interface:
		if v.IsNil() {
			d.number(0)
			return
		}
		d.buf = append(d.buf, v.Elem().Type().String()...)
		d.value(v.Elem())
	case reflect.Pointer:
		d.pointer(v)
	case reflect.Func:
	default:
		panic(fmt.Sprintf("explore: a %v in the state", v.Type()))
	}
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (d *Dump) list(v reflect.Value) {
	d.number(uint64(v.Len()))
	for i := range v.Len() {
		d.value(v.Index(i))
	}
}

// table writes a map in the order of its keys' bytes.
func (d *Dump) table(v reflect.Value) {
	d.number(uint64(v.Len()))
	type pair struct {
		key   string
		value reflect.Value
	}
	var pairs []pair
	outer := d.buf
	for it := v.MapRange(); it.Next(); {
		d.buf = nil
		d.value(it.Key())
		pairs = append(pairs, pair{string(d.buf), it.Value()})
	}
	d.buf = outer
	slices.SortFunc(pairs, func(a, b pair) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	for _, p := range pairs {
		d.buf = append(d.buf, p.key...)
		d.value(p.value)
	}
}

func (d *Dump) record(v reflect.Value) {
	if d.skip[v.Type()] {
		return
	}
	if v.Type() == timeType {
		d.time(v)
		return
	}
	for _, field := range v.Fields() {
		d.value(field)
	}
}

// time reads a time even from an unexported field, by what time.Time is made
// of: wall seconds and nanoseconds, for no world here has a monotonic reading.
func (d *Dump) time(v reflect.Value) {
	wall, ext := v.Field(0).Uint(), v.Field(1).Int()
	if wall == 0 && ext == 0 {
		d.number(0)
		return
	}
	now := reflect.ValueOf(d.now)
	d.number(1)
	d.number(uint64((ext-now.Field(1).Int())*int64(time.Second) + int64(wall) - int64(now.Field(0).Uint())))
}

// pointer writes what it points to where it is met first, and after that which
// one it was: two that share something differ from two with equal things.
func (d *Dump) pointer(v reflect.Value) {
	if v.Type() == randType || v.IsNil() {
		d.number(0)
		return
	}
	if n, met := d.known[v.Pointer()]; met {
		d.number(n)
		return
	}
	d.known[v.Pointer()] = uint64(len(d.known)) + 2
	d.number(1)
	d.value(v.Elem())
}
