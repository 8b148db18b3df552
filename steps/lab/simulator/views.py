"""Container views: which objects of some types are below one, as a client asks for them."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.entities import Entity
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, support, vim, vmodl


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
