"""The service instance and the small services behind it: views, custom attributes."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.entities import Entity
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, support, vim, vmodl

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


class ViewManager(Managed):
    kind = vim.view.ViewManager

    def __init__(self, world: World) -> None:
        super().__init__(world, "ViewManager")

    @operation("CreateContainerView")
    def create_container_view(self, call: Call) -> Any:
        container = self.world.find(call.arguments.container)
        if not isinstance(container, Entity):
            raise fault(
                vmodl.fault.InvalidArgument, "The container holds nothing", invalidProperty="container"
            )
        view = ContainerView(self.world, container, call)
        call.session.owned[view.moid] = view
        return view.ref


class ContainerView(Managed):
    kind = vim.view.ContainerView

    def __init__(self, world: World, container: Entity, call: Call) -> None:
        super().__init__(world, f"session[{call.session.token}]{world.number('view')}")
        self._container = container
        self._types = tuple(call.arguments.type) or (support.ManagedObject,)
        self._recursive = call.arguments.recursive
        self._session = call.session

    @provides("container")
    def container(self) -> Any:
        return self._container.ref

    @provides("type")
    def types(self) -> list[Any]:
        return list(self._types)

    @provides("recursive")
    def recursive(self) -> bool:
        return bool(self._recursive)

    @provides("view")
    def view(self) -> list[Any]:
        entities = self._container.descendants() if self._recursive else self._container.children
        return [entity.ref for entity in entities if issubclass(entity.kind, self._types)]

    @operation("DestroyView")
    def destroy(self, call: Call) -> None:
        self._session.owned.pop(self.moid, None)
        self.world.remove(self)
