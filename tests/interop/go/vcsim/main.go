// govmomi's simulator as Debian packages it, with what a backup and a restore need beyond it.
//
//	vcsim DIRECTORY CERTIFICATE.pem KEY USERNAME PASSWORD
//
// It prints the port that it listens on, at loopback only, and ends with its standard input. DIRECTORY is for what is being uploaded.
//
// What vcsim 0.24.2 does by itself: sessions, inventory, property collector, tasks, snapshots in the inventory, CreateVM_Task,
// ImportVApp, leases, /folder from real files. What is added here: bytes in its VMs' disks (its own are empty files), advanced settings
// that are read by name, and leases that keep what is uploaded (it discards that), say which disk is which as a vCenter does, and have
// a manifest. An uploaded stream becomes the disk by `qemu-img convert`, which is nobody's of ours.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/url"
	"os"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const megabyte = 1 << 20

func main() {
	directory := os.Args[1]
	certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3]) // its own one has a key that is too weak for today's clients
	must(err)
	model := simulator.VPX()
	must(model.Create())
	defer model.Remove()
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(os.Args[4], os.Args[5])}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	for _, one := range simulator.Map.All("ResourcePool") {
		simulator.Map.Put(&pool{*one.(*simulator.ResourcePool), directory})
	}
	reader := &collector{}
	reader.Self = model.ServiceContent.PropertyCollector
	simulator.Map.Put(reader)
	for number, one := range simulator.Map.All("VirtualMachine") {
		fill(one.(*simulator.VirtualMachine), int64(number))
	}
	server := model.Service.NewServer()
	defer server.Close()
	server.Config.Handler = keeping(server.Config.Handler)
	fmt.Println(server.URL.Port())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Gives the VM three disks with bytes in them, some of which are not zero.
func fill(vm *simulator.VirtualMachine, seed int64) {
	first := disksOf(vm)[0]
	for unit := int32(1); unit < 3; unit++ {
		vm.Config.Hardware.Device = append(vm.Config.Hardware.Device, beside(first, unit))
	}
	for number, disk := range disksOf(vm) {
		identify(disk)
		disk.CapacityInBytes = int64(4+number) * megabyte
		disk.CapacityInKB = disk.CapacityInBytes / 1024
		file, err := os.Create(flat(vm, disk))
		must(err)
		must(file.Truncate(disk.CapacityInBytes))
		block := make([]byte, megabyte)
		for _, at := range []int64{0, 3} {
			rand.New(rand.NewSource(seed*100 + int64(number)*10 + at)).Read(block)
			_, err = file.WriteAt(block, at*megabyte)
			must(err)
		}
		must(file.Close())
	}
	vm.Config.ChangeTrackingEnabled = types.NewBool(false)
}

// Another disk on the same controller.
func beside(disk *types.VirtualDisk, unit int32) *types.VirtualDisk {
	made, backing := *disk, *disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	backing.FileName = fmt.Sprintf("%s_%d.vmdk", strings.TrimSuffix(backing.FileName, ".vmdk"), unit)
	made.Key, made.UnitNumber, made.Backing = disk.Key+unit, types.NewInt32(unit), &backing
	made.DeviceInfo = &types.Description{Label: fmt.Sprintf("Hard disk %d", unit+1), Summary: "-"}
	return &made
}
