"""The service instance: what the server is, and where its services are found."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.entities import Entity
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import vim, vmodl

API_VERSION = "8.0.3.0"


_VCENTER = {
    "name": "VMware vCenter Server",
    "fullName": "VMware vCenter Server 8.0.3 (simulated)",
    "osType": "linux-x64",
    "productLineId": "vpx",
    "apiType": "VirtualCenter",
    "licenseProductName": "VMware VirtualCenter Server",
}
_ESXI = {
    "name": "VMware ESXi",
    "fullName": "VMware ESXi 8.0.3 (simulated)",
    "osType": "vmnix-x86",
    "productLineId": "embeddedEsx",
    "apiType": "HostAgent",
    "licenseProductName": "VMware ESX Server",
}
"""Without instanceUuid: in ServiceContent as captured from a host (govmomi, simulator/esx/service_content.go)
there is none."""


class ServiceInstance(Managed):
    kind = vim.ServiceInstance

    def __init__(self, world: World, root: Entity, instance_uuid: str) -> None:
        super().__init__(world, "ServiceInstance")
        product = _ESXI if world.esxi else {**_VCENTER, "instanceUuid": instance_uuid}
        about = vim.AboutInfo(
            vendor="VMware, Inc.",
            version="8.0.3",
            build="24322831",
            localeVersion="INTL",
            localeBuild="000",
            apiVersion=API_VERSION,
            licenseProductVersion="8.0",
            **product,
        )
        self._content = vim.ServiceInstanceContent(
            rootFolder=root.ref,
            propertyCollector=vmodl.query.PropertyCollector("propertyCollector"),
            viewManager=vim.view.ViewManager("ViewManager"),
            sessionManager=vim.SessionManager("SessionManager"),
            authorizationManager=vim.AuthorizationManager("AuthorizationManager"),
            searchIndex=vim.SearchIndex("SearchIndex"),
            customFieldsManager=None if world.esxi else vim.CustomFieldsManager("CustomFieldsManager"),
            taskManager=vim.TaskManager("TaskManager"),
            eventManager=vim.event.EventManager("EventManager"),
            about=about,
        )

    @provides("content")
    @operation("RetrieveServiceContent")
    def content(self, _call: Call | None = None) -> Any:
        return self._content

    @provides("serverClock")
    @operation("CurrentTime")
    def current_time(self, _call: Call | None = None) -> Any:
        return self.world.now()
