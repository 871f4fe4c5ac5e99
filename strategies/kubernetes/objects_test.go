package kubernetes

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// sliceOf makes a slice of the Service cart with endpoints at addresses.
func sliceOf(name string, ips ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", Labels: map[string]string{labelService: "cart", "app": "cart"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "endpointslice-controller", FieldsV1: &metav1.FieldsV1{Raw: []byte("{}")}}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("metrics"), Port: new(int32(9100))}, {Name: new("starling"), Port: new(int32(7827)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, ip := range ips {
		if netip.MustParseAddr(ip).Is6() {
			s.AddressType = discoveryv1.AddressTypeIPv6
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{ip}, NodeName: new("node-1"), Zone: new("zone-a"), Hostname: new("cart-0"),
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "cart-" + ip, UID: types.UID("uid-" + ip)},
		})
	}
	return s
}

// podAt makes a running pod of the app cart.
func podAt(name string, ips ...string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", UID: types.UID("uid-" + name),
			Labels: map[string]string{"app": "cart", labelPodHash: "v1", labelZone: "zone-a"},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", Hostname: name, Subdomain: "cart",
			Containers:     []corev1.Container{{Name: "app", Image: "app:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}},
			InitContainers: []corev1.Container{{Name: "starling", Ports: []corev1.ContainerPort{{Name: "starling", ContainerPort: 7827, Protocol: corev1.ProtocolTCP}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
		}},
	}
	for i, ip := range ips {
		if i == 0 {
			p.Status.PodIP = ip
		}
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

func deleted(p *corev1.Pod) *corev1.Pod {
	p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_700_000_000, 0)}
	return p
}

func ip(i int) string { return fmt.Sprintf("10.5.%d.%d", i/250, i%250+1) }
