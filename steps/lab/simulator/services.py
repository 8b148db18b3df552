"""The objects that a vCenter has one of each, which clients find by the service instance."""

from __future__ import annotations

from steps.lab.simulator.collector import PropertyCollector
from steps.lab.simulator.custom_fields import CustomFieldsManager
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.event_manager import EventManager
from steps.lab.simulator.objects import World
from steps.lab.simulator.search_index import SearchIndex
from steps.lab.simulator.service_instance import ServiceInstance
from steps.lab.simulator.session_manager import SessionManager
from steps.lab.simulator.sessions import Sessions
from steps.lab.simulator.task_manager import TaskManager
from steps.lab.simulator.tasks import Tasks
from steps.lab.simulator.tickets import Tickets
from steps.lab.simulator.views import ViewManager


def make(
    world: World, root: Entity, instance_uuid: str, sessions: Sessions, tickets: Tickets, tasks: Tasks
) -> None:
    ServiceInstance(world, root, instance_uuid)
    SessionManager(world, sessions, tickets)
    PropertyCollector(world)
    ViewManager(world)
    SearchIndex(world, root)
    TaskManager(world, tasks)
    EventManager(world)
    if not world.esxi:
        CustomFieldsManager(world)
